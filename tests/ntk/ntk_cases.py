"""What cases are, and the frame that most of them stand in.

A case is a function without arguments that returns a model of the current float type
and the specification of its inputs: a shape for numbers, `Ids(shape, high)` for
integers below `high`, or a structure of these. All are smooth.
"""

import functools
from typing import NamedTuple

import keras
from keras import layers, ops

BACKEND = keras.backend.backend()
CASES = {}


class Ids(NamedTuple):
    shape: tuple
    high: int


def case(function):
    CASES[function.__name__] = function
    return function


def add(name, *args):
    """The case of one layer, or of a function of a tensor, between input and logits."""
    *middle, spec = args

    def build():
        return one_layer(*(m() for m in middle), spec=spec)

    CASES[name] = build


def keras_input(spec, name=None):
    if isinstance(spec, Ids):
        return keras.Input(spec.shape, dtype="int32", name=name)
    return keras.Input(spec, name=name)


def head(x):
    if len(x.shape) > 2:
        x = layers.Flatten()(x)
    return layers.Dense(3, name="logits")(ops.silu(x))


def one_layer(*middle, spec):
    inputs = keras_input(spec)
    x = inputs
    for layer in middle:
        x = layer(x)
    return keras.Model(inputs, head(x)), spec


def lazily(cls, *args, **kwargs):
    return functools.partial(cls, *args, **kwargs)
