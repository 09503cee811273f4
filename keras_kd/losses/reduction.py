"""The one reduction of all losses: a weighted mean over the positions that count."""

import keras
from keras import ops


class _Unreduced(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return y_true


def valid_positions(outputs, dtype):
    """1.0 where a position of `outputs` counts, 0.0 where its Keras mask leaves it out.

    Args:
        outputs: tensor `(..., k)` as the model gave it: a cast loses the mask.
        dtype: of the result.

    Returns:
        Float tensor `(...)`; all ones without a mask.
    """
    dtype = keras.backend.standardize_dtype(dtype)
    ones = ops.ones_like(ops.convert_to_tensor(outputs)[..., 0], dtype=dtype)
    # Keras has no public function that reads a mask, but its losses apply it.
    return _Unreduced(name="mask", reduction=None, dtype=dtype)(ones, outputs)


def weighted_mean(values, valid=None, sample_weight=None):
    """`sum(valid * sample_weight * values) / sum(valid)`.

    Over a whole batch this is Keras's `"sum_over_batch_size"`: not divided by the sum
    of the weights, nor by the number of `tf.distribute` replicas.

    Args:
        values: tensor, one value per position: `(batch, ...)`.
        valid: tensor of zeros and ones of the same shape; `None` means all ones.
        sample_weight: tensor `(batch,)`, or of any shape that broadcasts against
            `values` once axes of length 1 are added or left out at its end.

    Returns:
        Scalar; 0 where no position counts.
    """
    valid = ops.ones_like(values) if valid is None else valid
    weights = valid
    if sample_weight is not None:
        rank = len(values.shape)
        sample_weight = ops.cast(ops.convert_to_tensor(sample_weight), values.dtype)
        while len(sample_weight.shape) < rank:
            sample_weight = ops.expand_dims(sample_weight, -1)
        while len(sample_weight.shape) > rank and sample_weight.shape[-1] == 1:
            sample_weight = ops.squeeze(sample_weight, -1)
        if not _broadcasts(sample_weight.shape, values.shape):
            raise ValueError(
                "`sample_weight` must have one weight per example, or per position. "
                f"Received: sample_weight of shape {tuple(sample_weight.shape)} for "
                f"losses of shape {tuple(values.shape)}"
            )
        weights = ops.multiply(valid, sample_weight)
    return ops.divide(
        ops.sum(ops.multiply(values, weights)), ops.maximum(ops.sum(valid), 1.0)
    )


def _broadcasts(shape, onto) -> bool:
    return len(shape) == len(onto) and all(
        a in (1, None) or b is None or a == b for a, b in zip(shape, onto, strict=True)
    )
