import numpy as np
import pytest
import torchdistill.losses.mid_level as torchdistill
from hypothesis import given
from hypothesis import strategies as st
from loss_inputs import normal, of_torchdistill, properties, value

from keras_kd.losses import RelationalKD


@pytest.mark.parametrize("weights", [(25.0, 50.0), (1.0, 0.0), (0.0, 2.0)])
def test_is_torchdistills_mean(weights):
    teacher, student = normal(6, 5, seed=1), normal(6, 4, seed=2)
    oracle = torchdistill.RKDLoss("s", "t", *weights, reduction="mean")
    loss = RelationalKD(*weights).compute_loss(teacher, student)
    expected = of_torchdistill(oracle, teacher, student)
    assert value(loss) == pytest.approx(expected, rel=1e-5)


def test_feature_maps_are_flattened():
    teacher, student = normal(6, 5, 1, 1, seed=1), normal(6, 4, seed=2)
    flat = RelationalKD().compute_loss(teacher.reshape(6, 5), student)
    assert value(RelationalKD().compute_loss(teacher, student)) == value(flat)


@properties
@given(st.integers(0, 10**6), st.floats(0.01, 100.0))
def test_rotation_scale_and_shift_do_not_count(seed, scale):
    rng = np.random.default_rng(seed)
    teacher, student = rng.normal(size=(2, 6, 4))
    rotation, _ = np.linalg.qr(rng.normal(size=(4, 4)))
    moved = scale * (student @ rotation + rng.normal(size=4))
    expected = value(RelationalKD().compute_loss(teacher, student))
    assert value(RelationalKD().compute_loss(teacher, moved)) == pytest.approx(
        expected, rel=1e-3, abs=1e-3
    )
    same = scale * (teacher @ rotation)
    assert value(RelationalKD().compute_loss(teacher, same)) == pytest.approx(
        0.0, abs=1e-4
    )


def test_one_example_has_no_relations():
    assert value(RelationalKD().compute_loss(normal(1, 4), normal(1, 4, seed=1))) == 0


def test_coincident_examples_are_at_distance_zero():
    teacher = np.float32([[0, 0], [0, 0], [1, 0]])
    # Distances 0, 1, 1 have the mean 2/3; the student's are 1, 1, 1.
    student = np.float32([[0, 0], [1, 0], [0.5, np.sqrt(0.75)]])
    expected = 2 * (0.5 * 1.0 + 2 * 0.5 * 0.5**2) / 9
    loss = RelationalKD(1.0, 0.0).compute_loss(teacher, student)
    assert value(loss) == pytest.approx(expected, rel=1e-5)
