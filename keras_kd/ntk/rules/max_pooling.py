"""Max pooling without overlap, for backends whose gradient of it is slow.

It has no weights; only the pass through it is another one, with the same values and
the same gradient (to the first of equal maxima).
"""

import itertools
from typing import Any

import keras
from keras import ops

from keras_kd.ntk.rules.site import Site

_CLASSES = (
    keras.layers.MaxPooling1D,
    keras.layers.MaxPooling2D,
    keras.layers.MaxPooling3D,
)


def is_simple(layer: keras.layers.Layer) -> bool:
    """Whether the windows of a max pooling layer tile its inputs."""
    return (
        type(layer) in _CLASSES
        and tuple(layer.strides) == tuple(layer.pool_size)
        and layer.padding == "valid"
    )


def max_pooling(layer: keras.layers.Layer, site: Site, inputs: Any) -> Any:
    first = 1 if layer.data_format == "channels_last" else 2
    sizes = layer.pool_size
    points = [inputs.shape[first + i] // size for i, size in enumerate(sizes)]
    parts = []
    for offset in itertools.product(*(range(size) for size in sizes)):
        index = [slice(None)] * len(inputs.shape)
        for i, (o, n, size) in enumerate(zip(offset, points, sizes, strict=True)):
            index[first + i] = slice(o, o + (n - 1) * size + 1, size)
        parts.append(inputs[tuple(index)])
    highest = parts[0]
    for part in parts[1:]:
        highest = ops.maximum(highest, part)
    highest = ops.stop_gradient(highest)
    free = ops.ones_like(highest, dtype="bool")
    total = ops.zeros_like(highest)
    for part in parts:
        chosen = ops.logical_and(free, ops.equal(part, highest))
        free = ops.logical_and(free, ops.logical_not(chosen))
        total = total + ops.where(chosen, part, ops.zeros_like(part))
    return total
