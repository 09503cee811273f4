"""Gradients against differences of ordinary calls, along random directions.

It is the one check that knows nothing of differentiation. Where a model stops gradients
on purpose, its gradient is what it is said to be, and differences would contradict: so
only models are asked that take numbers out of tensors, behind the gradient's back.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from keras_kd.ntk.plain_calls import number, outputs_with

# Steps, of the size of a variable. A central difference is off by the square of the
# step, by about the step where units are cut off (ReLU), and by rounding over the step:
# one of three is right to far better than `_TOLERANCE`, and a use of weights that no
# gradient sees makes it wrong by a multiple of that.
_STEPS = {
    "float64": (1e-4, 1e-5, 1e-6),
    "float32": (1e-2, 3e-3, 1e-3),
    # Of narrower numbers inside, only what is missing altogether shows.
    "half": (0.3, 0.1, 0.03),
}
_TOLERANCE = {"float64": 0.05, "float32": 0.05, "half": 0.5}
_EPSILON = {"float64": 2e-16, "float32": 1e-7, "half": 1e-3}
# What is missing may be small along one of them, by chance.
_DIRECTIONS = 4
# Rounding of an output, in units in the last place.
_ROUNDING = 10


def contradicted(
    model: keras.Model,
    inputs: Any,
    cotangents: NDArray[Any],
    gradients: Sequence[NDArray[Any]],
    places: Sequence[int],
    precision: str,
) -> list[int]:
    """The places of variables along which the outputs change otherwise.

    Args:
        model: a built model; its weights are moved for a moment, and put back.
        inputs: tensors of `m` examples.
        cotangents: `(m, k)`.
        gradients: of `sum(cotangents * outputs)`, in all trainable variables, flat.
        places: of those that count.
        precision: that the model computes in: "float64", "float32" or "half".
    """
    generator = np.random.default_rng(1)
    weights = cotangents.astype(np.float64).ravel()

    def agrees(place: int) -> bool:
        """Along one more direction, with one of the steps."""
        variable = model.trainable_variables[place]
        value, gradient = number(variable.value), gradients[place].astype(np.float64)
        size = np.sqrt(np.mean(np.square(value))) or 1.0
        direction = size * generator.standard_normal(value.shape)
        expected = float(gradient @ direction.ravel())
        # What one of this length usually is: an expectation near 0 is chance.
        usual = float(np.linalg.norm(gradient)) * size
        for step in _STEPS[precision]:
            right, left = (
                outputs_with(model, inputs, [variable], [value + s * step * direction])
                for s in (1, -1)
            )
            difference = float(weights @ (right - left)) / (2 * step)
            rounding = float(np.abs(weights) @ np.abs(right)) * _EPSILON[precision]
            limit = _TOLERANCE[precision] * max(abs(difference), abs(expected), usual)
            error = abs(difference - expected)
            if error <= limit + _ROUNDING * rounding / step:
                return True
        return False

    return [i for i in places if not all(agrees(i) for _ in range(_DIRECTIONS))]
