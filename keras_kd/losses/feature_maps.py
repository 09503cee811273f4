"""What losses on feature maps share: one layout, one size."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_kd.forward import find_layer


def check_channels_last(argument: str, model: keras.Model, path: str | None) -> None:
    """Refuses a tapped layer that is not there, or has its channels first.

    Raises:
        ValueError: names the argument and the layer.
    """
    if path is None:
        return
    layer = find_layer(model, path)
    if getattr(layer, "data_format", None) == "channels_first":
        raise ValueError(
            f"`{argument}` must be a layer with data_format='channels_last'. "
            f"Received: {argument}='{path}', with data_format='channels_first'"
        )


def pool_to_same_size(teacher: Any, student: Any) -> tuple[Any, Any]:
    """Feature maps of one size: along each axis the longer is averaged to the shorter.

    Args:
        teacher: tensor `(batch, ..., channels)`.
        student: tensor of the same rank.

    Returns:
        Both, with the same lengths along all axes but the last. Axes whose length is
        not known when the step is compiled are taken to agree.
    """
    for axis in range(1, len(student.shape) - 1):
        t, s = teacher.shape[axis], student.shape[axis]
        if t is not None and s is not None:
            if t > s:
                teacher = _average_pool(teacher, axis, s)
            elif s > t:
                student = _average_pool(student, axis, t)
    return teacher, student


def _average_pool(x: Any, axis: int, size: int) -> Any:
    """Adaptive average pooling: bin `i` is `floor(i n / m) : ceil((i + 1) n / m)`."""
    n = x.shape[axis]
    bins = np.zeros((n, size))
    for i in range(size):
        start, end = i * n // size, -(-(i + 1) * n // size)
        bins[start:end, i] = 1.0 / (end - start)
    dtype = keras.backend.standardize_dtype(x.dtype)
    bins = ops.convert_to_tensor(bins, dtype=dtype)
    return ops.moveaxis(ops.tensordot(x, bins, axes=[[axis], [0]]), -1, axis)
