"""Which positions of an output count, and how much: Keras masks, sample weights."""

from typing import Any

import keras
from keras import ops


class _Unreduced(keras.losses.Loss):
    def call(self, y_true: Any, y_pred: Any) -> Any:
        return y_true


def valid_positions(outputs: Any, dtype: Any) -> Any:
    """1.0 where a position of `outputs` counts, 0.0 where its Keras mask leaves it out.

    Args:
        outputs: tensor `(..., k)` as the model gave it: a cast loses the mask.
        dtype: of the result.

    Returns:
        Float tensor `(...)`; all ones without a mask.
    """
    dtype = keras.backend.standardize_dtype(dtype)
    ones = ops.ones_like(ops.convert_to_tensor(outputs)[..., 0], dtype=dtype)
    # Keras's losses bring a mask to the shape of what it masks.
    return _Unreduced(name="mask", reduction=None, dtype=dtype)(ones, outputs)


def positional_weights(sample_weight: Any, values: Any) -> Any:
    """`sample_weight` in a shape that broadcasts against one value per position.

    Args:
        sample_weight: tensor `(batch,)`, or of any shape that broadcasts against
            `values` once axes of length 1 are added or left out at its end.
        values: tensor `(batch, ...)`.

    Raises:
        ValueError: the shapes do not fit.
    """
    rank = len(values.shape)
    weight = ops.cast(ops.convert_to_tensor(sample_weight), values.dtype)
    while len(weight.shape) < rank:
        weight = ops.expand_dims(weight, -1)
    while len(weight.shape) > rank and weight.shape[-1] == 1:
        weight = ops.squeeze(weight, -1)
    if not _broadcasts(weight.shape, values.shape):
        raise ValueError(
            "`sample_weight` must have one weight per example, or per position. "
            f"Received: sample_weight of shape {tuple(weight.shape)} for "
            f"losses of shape {tuple(values.shape)}"
        )
    return weight


def _broadcasts(shape: Any, onto: Any) -> bool:
    return len(shape) == len(onto) and all(
        a in (1, None) or b is None or a == b for a, b in zip(shape, onto, strict=True)
    )
