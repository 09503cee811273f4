import numpy as np
import pytest
import torchdistill.losses.mid_level as torchdistill
from hypothesis import given
from hypothesis import strategies as st
from loss_inputs import (
    gradient,
    normal,
    of_torchdistill,
    properties,
    softmax,
    tables,
    value,
)

from keras_kd.losses import LogitMSE, SoftTargets


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_kl_is_torchdistills_batchmean_times_temperature_squared(temperature):
    teacher, student = normal(6, 4, seed=1), normal(6, 4, seed=2)
    oracle = torchdistill.KDLoss("s", "output", "t", "output", temperature, beta=1.0)
    expected = temperature**2 * of_torchdistill(oracle, teacher, student)
    loss = SoftTargets(temperature).compute_loss(teacher, student)
    assert value(loss) == pytest.approx(expected, rel=1e-5)


def test_cross_entropy_is_the_papers_formula():
    teacher, student = normal(2, 4, 4, seed=1), normal(2, 4, 4, seed=2)
    p, q = softmax(teacher / 3.0), softmax(student / 3.0)
    expected = 9.0 * np.mean(-(p * np.log(q)).sum(-1))
    loss = SoftTargets(3.0, "cross_entropy").compute_loss(teacher, student)
    assert value(loss) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("divergence", ["kl_divergence", "cross_entropy"])
def test_one_unit_is_a_bernoulli_variable(divergence):
    teacher, student = normal(6, 1, seed=1), normal(6, 1, seed=2)
    p, q = (1 / (1 + np.exp(-np.float64(z) / 2.0)) for z in (teacher, student))
    expected = -(p * np.log(q) + (1 - p) * np.log1p(-q))
    if divergence == "kl_divergence":
        expected += p * np.log(p) + (1 - p) * np.log1p(-p)
    loss = SoftTargets(2.0, divergence).compute_loss(teacher, student)
    assert value(loss) == pytest.approx(4.0 * expected.mean(), rel=1e-5)


@pytest.mark.parametrize("units", [1, 4])
@pytest.mark.parametrize("divergence", ["kl_divergence", "cross_entropy"])
def test_gradient_is_the_difference_of_probabilities(units, divergence):
    teacher, student = normal(6, units, seed=1), normal(6, units, seed=2)
    loss = SoftTargets(2.0, divergence)
    actual = gradient(lambda s: loss.compute_loss(teacher, s), student)
    if units == 1:
        p, q = (1 / (1 + np.exp(-np.float64(z) / 2.0)) for z in (teacher, student))
    else:
        p, q = softmax(teacher / 2.0), softmax(student / 2.0)
    np.testing.assert_allclose(actual, 2.0 * (q - p) / 6, rtol=1e-4, atol=1e-6)


@properties
@given(tables(), tables(), st.sampled_from([0.5, 1.0, 8.0]))
def test_kl_is_not_negative_and_zero_for_equal_outputs(teacher, student, temperature):
    loss = SoftTargets(temperature)
    rounding = 1e-6 * temperature**2
    assert value(loss.compute_loss(teacher, student)) >= -rounding
    assert abs(value(loss.compute_loss(teacher, teacher))) <= rounding


def test_high_temperature_is_regression_on_centred_logits():
    # tau^2 KL -> |g - f|^2 / (2 k), for logits of zero mean (Hinton et al., eq. 4).
    teacher, student = normal(6, 4, seed=1), normal(6, 4, seed=2)
    teacher -= teacher.mean(-1, keepdims=True)
    student -= student.mean(-1, keepdims=True)
    limit = value(LogitMSE().compute_loss(teacher, student)) / 2
    loss = value(SoftTargets(100.0).compute_loss(teacher, student))
    assert loss == pytest.approx(limit, rel=0.05)


def test_extreme_logits_stay_exact():
    teacher, student = np.float32([[1e4, 0.0]]), np.float32([[0.0, 1e4]])
    assert value(SoftTargets(1.0).compute_loss(teacher, student)) == 1e4
    one_unit = SoftTargets(1.0, "cross_entropy")
    teacher, student = np.float32([[1e4]]), np.float32([[-1e4]])
    assert value(one_unit.compute_loss(teacher, student)) == 1e4
