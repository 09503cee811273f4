"""Teachers of less precision."""

import keras
import numpy as np
import pytest
from scipy.special import rel_entr, softmax
from tiny_teachers import make_data, make_teacher

import keras_kd
from keras_kd.teachers.reduced_precision import agreement, cheaper


def student():
    return keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])


def test_bfloat16_computes_in_it_with_the_same_weights():
    teacher = make_teacher()
    before = teacher.get_weights()
    copy = cheaper(teacher, "bfloat16")
    assert {layer.compute_dtype for layer in copy.layers} == {"bfloat16"}
    for one, other in zip(copy.weights, teacher.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
        assert one.dtype == other.dtype
    assert {layer.compute_dtype for layer in teacher.layers} == {"float32"}
    assert all(map(np.array_equal, before, teacher.get_weights()))


def test_int8_quantises_what_keras_can():
    teacher = make_teacher()
    copy = cheaper(teacher, "int8")
    assert copy.get_layer("hidden").quantization_mode == "int8"
    assert teacher.get_layer("hidden").quantization_mode is None


def test_agreement_is_what_scipy_says():
    x, _ = make_data()
    one, other = make_teacher(), make_teacher()
    found = agreement(one, other, x)
    a, b = (m.predict(x, verbose=0).astype("float64") for m in (one, other))
    p, q = softmax(a, axis=1), softmax(b, axis=1)
    assert found.examples == len(x)
    assert found.top1 == np.mean(a.argmax(1) == b.argmax(1))
    assert found.divergence == pytest.approx(rel_entr(p, q).sum(1).mean(), rel=1e-4)


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_a_distiller_reports_it_once(precision, capsys):
    x, _ = make_data()
    teacher = make_teacher()
    distiller = keras_kd.Distiller(
        teacher, student(), teacher_precision=precision, output_kind="categorical"
    )
    distiller.compile("sgd")
    distiller.fit(x, batch_size=4, verbose=2)
    assert "agrees with the full one on" in capsys.readouterr().out
    expected = agreement(teacher, distiller.teacher, x)
    assert distiller.teacher_agreement == expected
    assert 0.5 < expected.top1 <= 1
    # Less precision does make a difference, and a small one.
    assert 0 < expected.divergence < 0.01
    distiller.fit(x, batch_size=4, verbose=2)
    assert "agrees" not in capsys.readouterr().out


def test_bfloat16_follows_a_trajectory(trajectory):
    x, _ = make_data()
    distiller = keras_kd.Distiller(
        trajectory.load(-1),
        student(),
        teacher_precision="bfloat16",
        output_kind="categorical",
    )
    distiller.compile("sgd")
    distiller.fit(
        x,
        batch_size=4,
        epochs=5,
        verbose=0,
        callbacks=[keras_kd.OnlineTeacher(trajectory)],
    )
    last = trajectory.load(-1)
    for one, other in zip(distiller.teacher.weights, last.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


@pytest.mark.wrong_input
def test_refused():
    with pytest.raises(ValueError, match="`teacher_precision` must be None or one of"):
        keras_kd.Distiller(make_teacher(), student(), teacher_precision="float8")
    with pytest.raises(ValueError, match="frozen teacher that runs"):
        keras_kd.Distiller(
            make_teacher(), student(), teacher_precision="int8", train_teacher=True
        )
    nothing = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Conv2D(3, 2)])
    with pytest.raises(ValueError, match="needs layers that Keras can quantise"):
        cheaper(nothing, "int8")
