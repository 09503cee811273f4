"""How convolutions of each padding cut patches."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_kd.ntk.factors.inputs import Geometry


def geometry(
    inputs: Sequence[int],
    outputs: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int],
    padding: str,
) -> Geometry:
    """The geometry of a convolution from `inputs` to `outputs` points.

    Args:
        inputs: points along each spatial axis.
        outputs: likewise.
        kernel: sizes.
        strides: steps, in points.
        dilation: steps inside of a patch, in points.
        padding: `"valid"`, `"same"` or `"causal"`.
    """
    pads = []
    for n, out, k, s, r in zip(inputs, outputs, kernel, strides, dilation, strict=True):
        total = (out - 1) * s + (k - 1) * r + 1 - n
        before = {"valid": 0, "same": max(total, 0) // 2, "causal": (k - 1) * r}[
            padding
        ]
        pads.append((before, max(total - before, 0)))
    return Geometry(
        tuple(kernel), tuple(strides), tuple(dilation), tuple(pads), tuple(outputs)
    )


def causal_padding(layer: keras.layers.Layer) -> list[tuple[int, int]]:
    """How many zeros a causal convolution puts before the first point of its inputs."""
    points = [
        ((k - 1) * r, 0)
        for k, r in zip(layer.kernel_size, layer.dilation_rate, strict=True)
    ]
    if layer.data_format == "channels_last":
        return [(0, 0), *points, (0, 0)]
    return [(0, 0), (0, 0), *points]


def windows(images: Any, shape: Geometry) -> list[Any]:
    """For each point of the kernel, the images' values under it, `(m, *outputs, ...)`.

    Args:
        images: `(m, *spatial, ...)`.
        shape: the convolution's.
    """
    trailing = len(images.shape) - 1 - len(shape.kernel)
    pads = [(0, 0), *shape.padding, *[(0, 0)] * trailing]
    if any(pad != (0, 0) for pad in shape.padding):
        images = ops.pad(images, pads)
    found = []
    for offset in _offsets(shape.kernel):
        index = [slice(None)]
        for o, d, n, s in zip(
            offset, shape.dilation, shape.outputs, shape.strides, strict=True
        ):
            index.append(slice(o * d, o * d + (n - 1) * s + 1, s))
        found.append(images[tuple(index)])
    return found


def _offsets(kernel: Sequence[int]) -> list[tuple[int, ...]]:
    offsets: list[tuple[int, ...]] = [()]
    for k in kernel:
        offsets = [(*offset, i) for offset in offsets for i in range(k)]
    return offsets


def channels_last(tensor: Any, layer: keras.layers.Layer, lead: int = 1) -> Any:
    """A layer's tensor with its channels at the end, behind `lead` axes of examples."""
    if layer.data_format == "channels_first":
        return ops.moveaxis(tensor, lead, -1)
    return tensor


def add_bias(y: Any, layer: keras.layers.Layer) -> Any:
    """Adds a convolution's bias, one number a channel."""
    if not layer.use_bias:
        return y
    if layer.data_format == "channels_last":
        return ops.add(y, layer.bias)
    return ops.add(y, ops.reshape(layer.bias, (1, -1) + (1,) * layer.rank))
