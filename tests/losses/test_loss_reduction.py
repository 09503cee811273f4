"""What all losses share: weights, masks, nested outputs, precision, constants."""

import inspect

import keras
import numpy as np
import pytest
from hypothesis import given
from loss_inputs import gradient, normal, properties, value, weights

from keras_kd.losses import (
    DIST,
    AttentionTransfer,
    DecoupledKD,
    FeatureHint,
    LogitMSE,
    RelationalKD,
    SoftTargets,
)

LABELS = np.array([0, 3, 1, 1, 2, 2])

PER_EXAMPLE = {
    "kl": SoftTargets(2.0),
    "cross_entropy": SoftTargets(2.0, "cross_entropy"),
    "mse": LogitMSE(),
    "decoupled": DecoupledKD(),
    "hint": FeatureHint(None, None),
    "attention": AttentionTransfer(None, None),
}
OF_BATCHES = {"dist": DIST(), "relational": RelationalKD()}
ALL = PER_EXAMPLE | OF_BATCHES
ON_LOGITS = ["kl", "cross_entropy", "mse", "decoupled", "dist"]


def compute(name, teacher, student, rows=slice(None), **kwargs):
    if name == "attention":
        shape = (-1, 2, 2, 1)
        teacher, student = (keras.ops.reshape(x, shape) for x in (teacher, student))
    if name == "decoupled":
        kwargs["y_true"] = LABELS[rows]
    return ALL[name].compute_loss(teacher, student, **kwargs)


@pytest.mark.parametrize("name", PER_EXAMPLE)
@properties
@given(weights=weights())
def test_weights_count_per_example(name, weights):
    teacher, student = normal(6, 4, seed=1), normal(6, 4, seed=2)
    each = [
        value(compute(name, teacher[[i]], student[[i]], rows=[i])) for i in range(6)
    ]
    loss = value(compute(name, teacher, student, sample_weight=weights))
    assert loss == pytest.approx(np.dot(weights, each) / 6, rel=1e-4, abs=1e-6)
    doubled = value(compute(name, teacher, student, sample_weight=2 * weights))
    assert doubled == pytest.approx(2 * loss, rel=1e-5, abs=1e-7)
    column = value(compute(name, teacher, student, sample_weight=weights[:, None]))
    assert column == pytest.approx(loss, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("name", PER_EXAMPLE)
def test_weight_zero_removes_an_example(name):
    teacher, student = normal(6, 4, seed=1), normal(6, 4, seed=2)
    kept = np.float32([1, 1, 0, 1, 1, 1])
    each = [
        value(compute(name, teacher[[i]], student[[i]], rows=[i])) for i in range(6)
    ]
    expected = np.dot(kept, each) / 6
    loss = compute(name, teacher, student, sample_weight=kept)
    assert value(loss) == pytest.approx(expected, rel=1e-5)
    of_student = gradient(
        lambda s: compute(name, teacher, s, sample_weight=kept), student
    )
    assert np.all(of_student[2] == 0)
    assert np.any(of_student[3] != 0)


@pytest.mark.parametrize("name", OF_BATCHES)
def test_losses_of_batches_do_not_name_weights(name):
    parameters = inspect.signature(ALL[name].compute_loss).parameters
    assert "sample_weight" not in parameters


def sequences():
    """Logits `(2, 4, 4)` with a Keras mask, and which positions are valid."""
    tokens = np.array([[1, 2, 3, 4], [5, 6, 0, 0]])
    embedding = keras.layers.Embedding(10, 4, mask_zero=True)
    embedding.build((None, None))
    embedding.embeddings.assign(normal(10, 4, seed=3))
    return embedding(tokens), tokens > 0


@pytest.mark.parametrize("name", [*ON_LOGITS, "hint"])
def test_masked_positions_are_left_out(name):
    student, valid = sequences()
    teacher = normal(2, 4, 4, seed=1)
    labels = np.arange(8).reshape(2, 4) % 4
    kwargs, flat = {}, {}
    if name == "decoupled":
        kwargs, flat = {"y_true": labels}, {"y_true": labels[valid]}
    loss = ALL[name].compute_loss(teacher, student, **kwargs)
    unpadded = value(student)[valid].astype("float32")
    expected = ALL[name].compute_loss(teacher[valid], unpadded, **flat)
    assert value(loss) == pytest.approx(value(expected), rel=1e-5)


def test_masks_and_weights_together_are_those_of_keras():
    student, _ = sequences()
    teacher = normal(2, 4, 4, seed=1)
    per_position = np.float32([[1, 2, 3, 0], [0, 1, 5, 2]])
    oracle = keras.losses.MeanSquaredError()(teacher, student, per_position)
    loss = LogitMSE().compute_loss(teacher, student, sample_weight=per_position)
    assert value(loss) == pytest.approx(value(oracle), rel=1e-5)
    per_example = np.float32([2, 3])
    spread = np.broadcast_to(per_example[:, None], (2, 4))
    oracle = keras.losses.MeanSquaredError()(teacher, student, spread)
    loss = LogitMSE().compute_loss(teacher, student, sample_weight=per_example)
    assert value(loss) == pytest.approx(value(oracle), rel=1e-5)


def test_a_batch_that_is_masked_altogether_counts_zero():
    embedding = keras.layers.Embedding(10, 4, mask_zero=True)
    student = embedding(np.zeros((2, 4), "int32"))
    for name in ("kl", "mse", "hint"):
        loss = ALL[name].compute_loss(normal(2, 4, 4), student)
        assert value(loss) == 0


@pytest.mark.parametrize("container", ["list", "tuple", "dict"])
def test_nested_outputs_are_summed_leaf_by_leaf(container):
    def nest(a, b):
        return {"list": [a, b], "tuple": (a, b), "dict": {"b": b, "a": a}}[container]

    teachers = normal(6, 4, seed=1), normal(6, 5, seed=2)
    students = normal(6, 4, seed=3), normal(6, 5, seed=4)
    labels = LABELS, LABELS[::-1].copy()
    w = np.float32([1, 2, 0, 1, 3, 1]), np.float32([2, 2, 2, 0, 1, 1])
    loss = DecoupledKD()
    loss.validate_outputs(nest(*teachers), nest(*students))

    def expected(labels, weights):
        pairs = zip(teachers, students, labels, weights, strict=True)
        return sum(value(loss.compute_loss(*pair)) for pair in pairs)

    shared = loss.compute_loss(nest(*teachers), nest(*students), labels[0], w[0])
    assert value(shared) == pytest.approx(expected((labels[0],) * 2, (w[0],) * 2), 1e-5)
    own = loss.compute_loss(nest(*teachers), nest(*students), nest(*labels), nest(*w))
    assert value(own) == pytest.approx(expected(labels, w), rel=1e-5)


def test_lists_and_tuples_of_labels_are_one():
    outputs = [normal(6, 4, seed=1), normal(6, 4, seed=2)]
    loss = DecoupledKD().compute_loss(outputs, outputs[::-1], (LABELS, LABELS))
    shared = DecoupledKD().compute_loss(outputs, outputs[::-1], LABELS)
    assert value(loss) == value(shared)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", ALL)
def test_half_precision_is_computed_in_float32(name, dtype):
    teacher = keras.ops.cast(normal(6, 4, seed=1), dtype)
    student = keras.ops.cast(normal(6, 4, seed=2), dtype)
    loss = compute(name, teacher, student)
    assert keras.backend.standardize_dtype(loss.dtype) == "float32"
    wide = (value(x).astype("float32") for x in (teacher, student))
    assert value(loss) == pytest.approx(value(compute(name, *wide)), rel=1e-6)


@pytest.mark.skipif(
    keras.backend.backend() == "jax", reason="float64 is off in JAX by default"
)
@pytest.mark.parametrize("name", ALL)
def test_float64_stays(name):
    teacher, student = np.float64(normal(6, 4, seed=1)), np.float64(normal(6, 4))
    loss = compute(name, teacher.astype("float32"), student)
    assert keras.backend.standardize_dtype(loss.dtype) == "float64"
    loss = compute(name, teacher, student.astype("float32"))
    assert keras.backend.standardize_dtype(loss.dtype) == "float32"


@pytest.mark.parametrize("name", ALL)
def test_the_teacher_is_a_constant(name):
    # Not where both are equal: there the gradient is zero anyway.
    teacher, student = normal(6, 4, seed=1), normal(6, 4, seed=2)
    of_teacher = gradient(lambda t: compute(name, t, student) + 0 * t[0, 0], teacher)
    assert np.all(of_teacher == 0)


NASTY = {
    "zeros": np.zeros((6, 4), "float32"),
    "equal_rows": np.repeat(normal(1, 4), 6, axis=0),
    "equal_classes": np.repeat(normal(6, 1), 4, axis=1),
    "duplicates": np.repeat(normal(3, 4), 2, axis=0),
    "nearly_equal": np.float32(0.3) + normal(6, 4, scale=1e-7),
    "large": normal(6, 4, scale=1e4),
    "tiny": normal(6, 4, scale=1e-12),
}


@pytest.mark.parametrize("name", ALL)
def test_losses_and_gradients_are_finite(name):
    pairs = [(normal(6, 4, seed=1), student) for student in NASTY.values()]
    pairs += [(NASTY["zeros"], NASTY["zeros"]), (NASTY["large"], NASTY["zeros"])]
    for teacher, student in pairs:
        assert np.isfinite(value(compute(name, teacher, student)))
        slope = gradient(lambda s, t=teacher: compute(name, t, s), student)
        assert np.all(np.isfinite(slope))
