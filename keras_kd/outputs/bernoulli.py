"""One output unit as a distribution over two classes."""

from keras import ops


def class_logits(logits):
    """Logits over classes: a single unit `z` becomes the two classes `[0, z]`.

    The softmax of `[0, z]` is `[1 - sigmoid(z), sigmoid(z)]`, and its temperature
    that of the unit.

    Args:
        logits: tensor `(..., k)`.

    Returns:
        The same tensor, or `(..., 2)` where `k = 1`.
    """
    if logits.shape[-1] != 1:
        return logits
    return ops.concatenate([ops.zeros_like(logits), logits], axis=-1)
