import numpy as np
import pytest
import torchdistill.losses.mid_level as torchdistill
from hypothesis import given
from hypothesis import strategies as st
from loss_inputs import normal, of_torchdistill, properties, softmax, value

from keras_kd.losses import DIST


@pytest.mark.parametrize(
    ("beta", "gamma", "temperature"), [(1, 1, 1), (2, 0, 4), (0, 0.5, 0.5)]
)
def test_is_torchdistills(beta, gamma, temperature):
    teacher, student = normal(6, 4, seed=1), normal(6, 4, seed=2)
    oracle = torchdistill.DISTLoss(
        "s", "output", "t", "output", beta=beta, gamma=gamma, tau=temperature
    )
    loss = DIST(beta, gamma, temperature).compute_loss(teacher, student)
    expected = of_torchdistill(oracle, teacher, student)
    assert value(loss) == pytest.approx(expected, rel=1e-5)


def test_one_unit_counts_as_two_classes():
    teacher, student = normal(6, 1, seed=1), normal(6, 1, seed=2)
    two = [np.concatenate([0 * z, z], -1) for z in (teacher, student)]
    oracle = torchdistill.DISTLoss("s", "output", "t", "output")
    loss = DIST().compute_loss(teacher, student)
    assert value(loss) == pytest.approx(of_torchdistill(oracle, *two), rel=1e-5)


def test_positions_count_as_examples():
    teacher, student = normal(2, 4, 4, seed=1), normal(2, 4, 4, seed=2)
    flat = teacher.reshape(8, 4), student.reshape(8, 4)
    oracle = torchdistill.DISTLoss("s", "output", "t", "output")
    loss = DIST().compute_loss(teacher, student)
    assert value(loss) == pytest.approx(of_torchdistill(oracle, *flat), rel=1e-5)


@properties
@given(st.integers(0, 10**6), st.floats(0.1, 1.0), st.floats(-5.0, 5.0))
def test_positive_affine_maps_of_probabilities_do_not_count(seed, scale, shift):
    teacher, student = normal(6, 4, seed=seed), normal(6, 4, seed=seed + 1)
    # A mixture with the uniform distribution maps rows and columns affinely.
    mixed = np.log(scale * softmax(student) + (1 - scale) / 4) + shift
    expected = value(DIST().compute_loss(teacher, student))
    actual = value(DIST().compute_loss(teacher, mixed.astype("float32")))
    assert actual == pytest.approx(expected, rel=1e-3, abs=1e-4)
    assert value(DIST().compute_loss(teacher, teacher + shift)) == pytest.approx(
        0.0, abs=1e-5
    )


def test_constant_rows_and_columns_count_one():
    teacher = normal(6, 4)
    student = np.zeros((6, 4), "float32")
    assert value(DIST(2.0, 3.0).compute_loss(teacher, student)) == 5.0
    # A batch of one: rows correlate, columns cannot.
    one = DIST(2.0, 3.0).compute_loss(teacher[:1], teacher[:1])
    assert value(one) == pytest.approx(3.0, abs=1e-5)
