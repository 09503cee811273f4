"""The one reduction of all losses: a weighted mean over the positions that count."""

from typing import Any

from keras import ops

from keras_kd.outputs import positional_weights


def weighted_mean(values: Any, valid: Any = None, sample_weight: Any = None) -> Any:
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
        weights = ops.multiply(valid, positional_weights(sample_weight, values))
    # What does not count may be NaN, as for a label that fills up a sequence.
    counted = ops.where(weights != 0, values, 0.0)
    return ops.divide(
        ops.sum(ops.multiply(counted, weights)), ops.maximum(ops.sum(valid), 1.0)
    )
