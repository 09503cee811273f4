"""Soft targets, residuals, margins, fidelity and alignment, by their definitions."""

import keras
import numpy as np
import pytest
from complexity_kernels import flat, forms, random_full_kernel, random_kernel
from scipy.special import log_softmax
from sklearn.metrics import accuracy_score, hamming_loss

from keras_kd.complexity import (
    fidelity,
    kernel_alignment,
    margins,
    predict,
    residual_targets,
    soft_targets,
)
from keras_kd.complexity.margin import accuracy
from keras_kd.metrics import Fidelity


@pytest.fixture
def logits():
    return np.random.default_rng(0).standard_normal((20, 4)) * 3


@pytest.mark.parametrize("temperature", [0.5, 1.0, 8.0])
def test_soft_targets(logits, temperature):
    expected = np.exp(log_softmax(logits / temperature, axis=1))
    found = soft_targets(logits, temperature, center=False)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    np.testing.assert_allclose(
        soft_targets(logits, temperature), expected - 1 / 4, atol=1e-12
    )
    scaled = soft_targets(logits, temperature, "logits", center=False)
    np.testing.assert_allclose(scaled, logits / temperature)


@pytest.mark.parametrize("kind", ["probabilities", "logits"])
def test_centred_targets_ignore_a_constant(logits, kind):
    found = soft_targets(logits, 2.0, kind)
    np.testing.assert_allclose(found.sum(axis=1), 0, atol=1e-12)
    shifted = logits + np.arange(20)[:, None]
    np.testing.assert_allclose(soft_targets(shifted, 2.0, kind), found, atol=1e-12)


def test_large_logits_do_not_overflow():
    found = soft_targets([[1e5, 0.0]], 1e-3, center=False)
    np.testing.assert_array_equal(found, [[1.0, 0.0]])


@pytest.mark.parametrize("kind", ["probabilities", "logits"])
def test_one_logit_is_half_of_two(kind):
    """The second of two classes, of logits 0 and g."""
    one = np.linspace(-3, 3, 7)
    two = soft_targets(np.stack([np.zeros(7), one], axis=1), 2.0, kind)
    found = soft_targets(one, 2.0, kind)
    assert found.shape == (7, 1)
    factor = 1 if kind == "probabilities" else 2
    np.testing.assert_allclose(found[:, 0], factor * two[:, 1], atol=1e-12)


def test_residuals(logits):
    student = logits[::-1]
    found = residual_targets(logits, student, 4.0)
    expected = np.exp(log_softmax(logits / 4, 1)) - np.exp(log_softmax(student / 4, 1))
    np.testing.assert_allclose(found, expected, atol=1e-12)
    found = residual_targets(logits, student, 4.0, "logits", center=False)
    np.testing.assert_allclose(found, (logits - student) / 4)
    for kind in ("probabilities", "logits"):
        found = residual_targets(logits, logits + 1, 4.0, kind)
        np.testing.assert_allclose(found, 0, atol=1e-12)


def test_margins(logits):
    labels = np.random.default_rng(1).integers(0, 4, 20)
    expected = [
        row[y] - max(row[j] for j in range(4) if j != y)
        for row, y in zip(logits, labels, strict=True)
    ]
    np.testing.assert_allclose(margins(logits, labels), expected)
    assert margins([2.0, 3.0, -1.0], [1, 0, 0]).tolist() == [2.0, -3.0, 1.0]
    assert margins([[2.0], [3.0]], [0, 1]).tolist() == [-2.0, 3.0]


def test_margins_of_a_set_of_labels(logits):
    labels = np.random.default_rng(1).integers(0, 2, logits.shape)
    found = margins(logits, labels, "bernoulli")
    np.testing.assert_array_equal(found, (2 * labels - 1) * logits)
    one = margins(logits[:, 0], labels[:, 0], "bernoulli")
    np.testing.assert_array_equal(one, found[:, 0])
    np.testing.assert_array_equal(one, margins(logits[:, 0], labels[:, 0]))


def test_one_hot_labels_are_classes(logits):
    labels = np.random.default_rng(1).integers(0, 4, 20)
    for dtype in (bool, int, "float32"):
        one_hot = np.eye(4, dtype=dtype)[labels]
        np.testing.assert_array_equal(margins(logits, one_hot), margins(logits, labels))
        assert accuracy(logits, one_hot) == accuracy(logits, labels)


def test_accuracy_is_that_of_scikit_learn(logits):
    classes = np.random.default_rng(1).integers(0, 4, 20)
    labels = np.random.default_rng(2).integers(0, 2, logits.shape)
    found = accuracy(logits, classes)
    assert found == accuracy_score(classes, logits.argmax(1))
    assert 0 < found < 1
    of_labels = accuracy(logits, labels, "bernoulli")
    assert of_labels == pytest.approx(1 - hamming_loss(labels, logits > 0))
    assert accuracy(logits[:, 0], labels[:, 0]) == accuracy_score(
        labels[:, 0], logits[:, 0] > 0
    )
    eye = np.eye(20)
    for kind, y in (("bernoulli", labels), ("categorical", classes)):
        predicted = predict(eye, eye, logits, labels=y, output_kind=kind)
        assert predicted.accuracy == accuracy(logits, y, kind)


@pytest.mark.parametrize("k", [1, 4])
def test_fidelity_is_the_metric(k):
    rng = np.random.default_rng(0)
    teacher, student = rng.standard_normal((2, 50, k)).astype("float32")
    metric = Fidelity()
    metric.update_state(keras.ops.array(teacher), keras.ops.array(student))
    found = fidelity(teacher, student)
    assert found == pytest.approx(float(metric.result()), abs=1e-6)
    assert 0.1 < found < 0.9
    assert isinstance(found, float)


def test_alignment_of_two_kernels():
    a, b = random_kernel(8, 0), random_kernel(8, 1)
    expected = np.sum(a * b) / np.sqrt(np.sum(a * a) * np.sum(b * b))
    assert kernel_alignment(a, b, center=False) == pytest.approx(expected)
    h = np.eye(8) - 1 / 8
    a, b = h @ a @ h, h @ b @ h
    expected = np.sum(a * b) / np.sqrt(np.sum(a * a) * np.sum(b * b))
    assert kernel_alignment(random_kernel(8), random_kernel(8, 1)) == pytest.approx(
        expected
    )


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("form", ["shared", "per_output", "full"])
def test_targets_count_as_their_kernel(center, form):
    y = np.random.default_rng(0).standard_normal((7, 3)) + 1
    kernel = random_full_kernel(7, 3)
    if form == "shared":
        kernel, other = kernel[..., 0, 0], y @ y.T
    elif form == "per_output":
        kernel = np.einsum("ijoo->ijo", kernel)
        other = np.einsum("ic,jc->ijc", y, y)
    else:
        other = np.einsum("io,jp->ijop", y, y)
    expected = kernel_alignment(kernel, other, center=center)
    assert kernel_alignment(kernel, y, center=center) == pytest.approx(expected)
    assert 0 < expected < 1
    if form == "full" and not center:
        a, b = flat(kernel), flat(other)
        direct = np.sum(a * b) / np.linalg.norm(a) / np.linalg.norm(b)
        assert expected == pytest.approx(direct)


def test_alignment_with_itself_is_1():
    for form in forms(random_kernel(6), 2).values():
        assert kernel_alignment(form, 5 * form) == pytest.approx(1)
