"""Real networks, and what their inputs are."""

import keras
import numpy as np
from keras import layers, ops
from ntk_models import disturb, inputs_for

from keras_kd import models


def vision_transformer():
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(8, 4, strides=4)(inputs)
    x = layers.Reshape((4, 8))(x)
    positions = layers.Embedding(4, 8)
    # Of the inputs, or the positions would be a constant of the model.
    places = ops.cast(0 * inputs[:, :4, 0, 0], "int32") + np.arange(4)
    x = x + positions(places)
    for _ in range(2):
        y = layers.LayerNormalization()(x)
        x = x + layers.MultiHeadAttention(2, 4)(y, y)
        y = layers.LayerNormalization()(x)
        x = x + layers.Dense(8)(layers.Dense(16, activation="silu")(y))
    x = layers.GlobalAveragePooling1D()(layers.LayerNormalization()(x))
    return keras.Model(inputs, layers.Dense(4)(x))


def lstm_classifier():
    ids = keras.Input((6,), dtype="int32")
    x = layers.Embedding(5, 4, mask_zero=True)(ids)
    x = layers.LSTM(5)(layers.LSTM(4, return_sequences=True)(x))
    return keras.Model(ids, layers.Dense(3)(x))


def tied_language_model():
    ids = keras.Input((5,), dtype="int32")
    table = layers.ReversibleEmbedding(6, 4)
    x = layers.Dense(4, activation="tanh")(table(ids))
    return keras.Model(ids, table(ops.mean(x, axis=1), reverse=True))


NETWORKS = {
    "lenet5x8": (lambda: models.LeNet5((32, 32, 3), 2, width=8), (32, 32, 3)),
    "resnet20": (lambda: models.ResNet((16, 16, 3), 3, depth=20), (16, 16, 3)),
    "mobilenet_v3": (lambda: models.MobileNetV3((32, 32, 3), 1, 0.35), (32, 32, 3)),
    "vision_transformer": (vision_transformer, (8, 8, 3)),
    "lstm_classifier": (lstm_classifier, "ids"),
}
if hasattr(layers, "ReversibleEmbedding"):
    NETWORKS["tied_language_model"] = (tied_language_model, "ids")


def examples(name, n):
    shape = NETWORKS[name][1]
    if shape == "ids":
        length = 6 if name == "lstm_classifier" else 5
        rng = np.random.default_rng(0)
        return rng.integers(0, 5, (n, length)).astype("int32")
    return inputs_for(shape, n)


def network(name):
    return disturb(NETWORKS[name][0]())
