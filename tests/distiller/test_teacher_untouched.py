"""After `fit`, also after one that failed, the teacher is bit for bit what it was."""

import keras
import numpy as np
import pytest
from networks import (
    assert_same_bits,
    convnet,
    evaluate,
    images,
    restless_teacher,
    sparse_loss,
    state,
)

from keras_kd import Distiller
from keras_kd.keras_internals import flatten_layers


def compiled_teacher():
    teacher = restless_teacher()
    teacher.compile("adam", sparse_loss(), metrics=["accuracy"])
    teacher.fit(*images(8), verbose=0)
    teacher.drop.trainable = False
    return teacher


@pytest.mark.parametrize("run_eagerly", [False, True])
def test_teacher_is_the_same_bits_after_fit(run_eagerly):
    teacher, student = compiled_teacher(), convnet()
    before = state(teacher)
    flags = [layer.trainable for layer in flatten_layers(teacher)]
    optimizer, loss = teacher.optimizer, teacher.loss
    distiller = Distiller(teacher, student, alpha=0.5)
    distiller.compile("adam", sparse_loss(), run_eagerly=run_eagerly)
    student_before = student.get_weights()

    distiller.fit(*images(), epochs=2, validation_split=0.25, verbose=0)

    assert_same_bits(before, state(teacher))
    assert flags == [layer.trainable for layer in flatten_layers(teacher)]
    assert teacher.optimizer is optimizer
    assert teacher.loss is loss
    assert "call" not in teacher.__dict__
    assert any(
        (a != b).any()
        for a, b in zip(student_before, student.get_weights(), strict=True)
    )
    # It still trains: nothing of it was frozen for good.
    teacher.fit(*images(8), verbose=0)


class Boom(keras.callbacks.Callback):
    def on_train_batch_begin(self, batch, logs=None):
        if batch == 1:
            raise RuntimeError("boom")


def test_teacher_is_the_same_bits_after_a_fit_that_failed():
    teacher = compiled_teacher()
    before = state(teacher)
    distiller = Distiller(teacher, convnet())
    distiller.compile("sgd")
    with pytest.raises(RuntimeError, match="boom"):
        distiller.fit(images()[0], batch_size=8, verbose=0, callbacks=[Boom()])
    assert_same_bits(before, state(teacher))
    distiller.fit(images()[0], verbose=0)


def test_student_survives_a_step_that_fails_while_it_is_traced():
    class Broken(keras.distillation.DistillationLoss):
        def compute_loss(self, teacher_outputs, student_outputs):
            raise RuntimeError("broken loss")

    teacher, student = compiled_teacher(), convnet()
    before = state(teacher)
    weights = [v.numpy() for v in student.trainable_variables]
    distiller = Distiller(teacher, student, Broken())
    distiller.compile("adam")
    with pytest.raises(RuntimeError, match="broken loss"):
        distiller.fit(images()[0], verbose=0)
    assert_same_bits(before, state(teacher))
    for one, other in zip(weights, student.trainable_variables, strict=True):
        np.testing.assert_array_equal(one, other.numpy())


def test_teacher_losses_and_metrics_stay_out_of_the_students():
    teacher, student = compiled_teacher(), convnet()
    distiller = Distiller(teacher, student)
    distiller.compile("sgd")
    logs = evaluate(distiller, images()[0])
    # The teacher's own loss is of the order of 1e3.
    assert logs["loss"] == pytest.approx(logs["distillation_loss"])
    assert set(logs) == {"loss", "distillation_loss", "fidelity"}
    assert len(distiller.trainable_variables) == len(student.trainable_variables)
    assert not distiller.losses
