"""The oracle for the training step: Keras's own Distiller."""

import keras
import numpy as np
import pytest
from float64 import float64_scope
from networks import convnet, copy_weights, images, sparse_loss

from keras_kd import Distiller
from keras_kd.losses import SoftTargets


def keras_loss():
    # The instance: given the string, Keras compares raw logits.
    return keras.distillation.LogitsDistillation(4.0, loss=keras.losses.KLDivergence())


def train(distiller, x, y, optimizer=None):
    distiller.compile(optimizer or keras.optimizers.SGD(0.05), sparse_loss())
    return distiller.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0)


@pytest.mark.parametrize(
    "loss", [lambda: SoftTargets(4.0), keras_loss], ids=["ours", "keras"]
)
@pytest.mark.parametrize("alpha", [1.0, 0.3])
def test_same_student_as_keras_distiller(loss, alpha):
    # Keras does not compute the loss of the labels where it has no weight.
    keys = ("student_loss", "distillation_loss")[alpha == 1.0 :]
    ours, theirs, student, other = both(loss, alpha)
    for one, two in zip(student, other, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)
    for key in keys:
        np.testing.assert_allclose(ours[key], theirs[key], rtol=1e-4)
    # Where rounding parts nothing.
    with float64_scope():
        ours, theirs, student, other = both(loss, alpha)
    for one, two in zip(student, other, strict=True):
        assert one.dtype == "float64"
        np.testing.assert_allclose(one, two, rtol=1e-9, atol=1e-12)
    for key in keys:
        np.testing.assert_allclose(ours[key], theirs[key], rtol=1e-9)


def both(loss, alpha):
    """Trains from the same weights with our distiller and with Keras's.

    Returns:
        Their histories, and the weights of their students.
    """
    x, y = images()
    teacher, student = convnet(8), convnet()
    other = copy_weights(student, convnet())
    ours = train(Distiller(teacher, student, loss(), alpha=alpha), x, y)
    theirs = train(
        keras.distillation.Distiller(
            teacher, other, keras_loss(), student_loss_weight=1.0 - alpha
        ),
        x,
        y,
    )
    return ours.history, theirs.history, student.get_weights(), other.get_weights()


def test_feature_loss_of_keras():
    x, y = images()
    loss = keras.distillation.FeatureDistillation(
        keras.losses.MeanSquaredError(), "conv2", "conv2"
    )
    teacher, student = convnet(), convnet()
    other = copy_weights(student, convnet())
    train(Distiller(teacher, student, loss), x, y)
    theirs = keras.distillation.Distiller(teacher, other, loss, student_loss_weight=0.0)
    train(theirs, x, y)
    # Keras runs the student twice a step, so its batch statistics move twice: the
    # weights, which see the batch's own statistics, agree.
    for one, two in zip(
        student.trainable_variables, other.trainable_variables, strict=True
    ):
        np.testing.assert_allclose(one.numpy(), two.numpy(), atol=1e-5)


def test_our_losses_in_keras_distiller():
    x, y = images()
    teacher, student = convnet(8), convnet()
    other = copy_weights(student, convnet())
    for loss, model in ((SoftTargets(4.0), student), (keras_loss(), other)):
        train(
            keras.distillation.Distiller(teacher, model, loss, student_loss_weight=0.5),
            x,
            y,
        )
    for one, two in zip(student.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)
