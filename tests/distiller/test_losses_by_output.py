"""Distillation losses by the names of the outputs: each is for its own."""

import keras
import numpy as np
import pytest
from networks import evaluate
from scipy.special import log_softmax, softmax

from keras_kd import Distiller
from keras_kd.losses import DecoupledKD, FeatureHint, LogitMSE, SoftTargets

X = np.random.default_rng(0).normal(size=(16, 6)).astype("float32")


def two_heads(seed):
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((6,))
    x = keras.layers.Dense(4, name="body")(inputs)
    heads = {name: keras.layers.Dense(3, name=name)(x) for name in ("kind", "box")}
    return keras.Model(inputs, heads)


def test_each_loss_is_of_its_output_and_hides_no_compiled_one():
    teacher, student = two_heads(0), two_heads(1)
    distiller = Distiller(
        teacher,
        student,
        # A loss of classes beside values: each of what it is for.
        {"kind": SoftTargets(2.0), "box": LogitMSE()},
        {"kind": 1.0, "box": 0.5},
        output_kind={"kind": "categorical", "box": "continuous"},
        alpha=0.25,
    )
    classes = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    distiller.compile("sgd", {"kind": classes, "box": "mse"})
    y = {
        "kind": np.arange(16) % 3,
        "box": np.random.default_rng(1).normal(size=(16, 3)).astype("float32"),
    }
    logs = evaluate(distiller, X, y)

    def said(model):
        return {k: v.astype("float64") for k, v in model.predict(X, verbose=0).items()}

    t, s = said(teacher), said(student)
    p = softmax(t["kind"] / 2, axis=-1)
    kl = p * (np.log(p) - log_softmax(s["kind"] / 2, axis=-1))
    kind, box = 4 * kl.sum(-1).mean(), np.mean((t["box"] - s["box"]) ** 2)
    labels = -log_softmax(s["kind"], axis=-1)[np.arange(16), y["kind"]].mean()
    values = np.mean((y["box"] - s["box"]) ** 2)
    expected = {
        "kind_distillation_loss": kind,
        "box_distillation_loss": box,
        "distillation_loss": kind + 0.5 * box,
        "kind_loss": labels,
        "box_loss": values,
        "student_loss": labels + values,
        "loss": 0.25 * (kind + 0.5 * box) + 0.75 * (labels + values),
    }
    for name, value in expected.items():
        assert logs[name] == pytest.approx(value, rel=1e-4), name


def test_an_output_without_a_loss_is_left_alone():
    student = two_heads(1)
    distiller = Distiller(two_heads(0), student, {"kind": DecoupledKD()})
    distiller.compile("sgd")
    before = [v.numpy().copy() for v in student.get_layer("box").weights]
    distiller.fit(X, np.arange(16) % 3, verbose=0)
    after = [v.numpy() for v in student.get_layer("box").weights]
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.wrong_input
@pytest.mark.one_backend
def test_names_that_leave_open_for_which_output_a_loss_is():
    hint = FeatureHint("body", "body")
    Distiller(two_heads(0), two_heads(1), {"kind": LogitMSE(), "hint": hint})
    with pytest.raises(ValueError, match=r"\['kind'\] beside \['boxes'\]"):
        Distiller(two_heads(0), two_heads(1), {"kind": LogitMSE(), "boxes": LogitMSE()})


def test_a_student_that_is_off_is_said_to_be_off():
    teacher = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
    student = keras.models.clone_model(teacher)
    student.set_weights([w + 5.0 * (w.ndim == 1) for w in teacher.get_weights()])
    distiller = Distiller(teacher, student)
    distiller.compile("sgd", "mse")
    logs = evaluate(distiller, X, teacher.predict(X, verbose=0))
    assert logs["distillation_loss"] == pytest.approx(25.0, rel=1e-5)
    assert logs["loss"] == pytest.approx(25.0, rel=1e-5)
    assert "fidelity" not in logs
