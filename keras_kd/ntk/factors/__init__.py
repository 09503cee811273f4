"""What is kept of a layer's per-example gradients, and the products made of it."""

from keras_kd.ntk.factors.accumulator import Accumulator
from keras_kd.ntk.factors.explicit import Explicit
from keras_kd.ntk.factors.factor import Factor
from keras_kd.ntk.factors.inputs import OneHot, Patches, Positions
from keras_kd.ntk.factors.outer import OuterProduct

__all__ = [
    "Accumulator",
    "Explicit",
    "Factor",
    "OneHot",
    "OuterProduct",
    "Patches",
    "Positions",
]
