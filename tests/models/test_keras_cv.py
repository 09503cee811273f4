"""A classifier made of a keras-cv backbone is a teacher like any other."""

import keras
import numpy as np
import pytest

import keras_kd
from keras_kd.models import LeNet5

keras_cv = pytest.importorskip("keras_cv", exc_type=ModuleNotFoundError)


def test_backbone_as_teacher():
    backbone = keras_cv.models.ResNetBackbone(
        stackwise_filters=[8],
        stackwise_blocks=[1],
        stackwise_strides=[1],
        input_shape=(32, 32, 3),
        include_rescaling=False,
        block_type="block",
    )
    teacher = keras_cv.models.ImageClassifier(backbone, num_classes=5, activation=None)
    student = LeNet5((32, 32, 3), classes=5, width=0.5)
    images = np.random.default_rng(0).random((8, 32, 32, 3), "float32")

    logits = teacher.predict(images, verbose=0)
    assert logits.shape == (8, 5)
    assert teacher.layers[-1].activation is keras.activations.linear

    before = [np.array(value) for value in teacher.get_weights()]
    distiller = keras_kd.Distiller(teacher, student, output_kind="categorical")
    distiller.compile(optimizer="adam")
    history = distiller.fit(images, batch_size=8, epochs=2, verbose=0).history
    assert history["loss"][1] < history["loss"][0]
    for old, new in zip(before, teacher.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
