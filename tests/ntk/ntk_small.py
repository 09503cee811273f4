"""A model of two layers, its inputs, and how far a kernel is from what it should be."""

import keras
import numpy as np
from keras import layers
from ntk_models import disturb, inputs_for


def error(found, expected):
    assert found.shape == expected.shape
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


def small(units=5, seed=0, classes=3, activation=None):
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(units, activation="tanh", name="hidden"),
            layers.Dense(classes, activation=activation, name="logits"),
        ]
    )
    return disturb(model, seed)


def numbers(n=6, dtype="float32", seed=0):
    return inputs_for((4,), n, seed, dtype)
