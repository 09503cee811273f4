"""EinsumDense: its equation says which axes are positions, groups, inputs, outputs."""

import math
import string
from typing import Any

import keras
from keras import ops

from keras_kd.ntk.factors.outer import Layout
from keras_kd.ntk.rules.site import Parts, Site, explicit, outer, summed_to


def is_supported(layer: keras.layers.Layer) -> bool:
    """Whether examples are one axis, and no axis is summed that the kernel lacks."""
    try:
        inputs, kernel, outputs = _axes(layer, len(layer.input_spec.shape))
    except (AttributeError, TypeError, ValueError):
        return False
    repeated = any(len(set(axes)) < len(axes) for axes in (inputs, kernel, outputs))
    batch = inputs[:1]
    return (
        not repeated
        and batch == outputs[:1]
        and batch not in kernel
        and set(inputs) <= set(kernel) | set(outputs)
        and set(kernel) <= set(inputs) | set(outputs)
        and set(outputs) <= set(inputs) | set(kernel)
    )


def _axes(layer: keras.layers.Layer, rank: int) -> tuple[str, str, str]:
    """The letters of inputs, kernel and outputs, ellipses written out."""
    left, outputs = layer.equation.replace(" ", "").split("->")
    inputs, kernel = left.split(",")
    free = [c for c in string.ascii_letters if c not in layer.equation]
    rest = "".join(free[: rank - len(inputs.replace("...", ""))])
    return inputs.replace("...", rest), kernel, outputs.replace("...", rest)


def einsum_dense(layer: keras.layers.Layer, site: Site, inputs: Any) -> Any:
    y = ops.einsum(layer.equation, inputs, layer.kernel)
    if layer.bias is not None:
        y = ops.add(y, layer.bias)
    ins, kernel, outs = _axes(layer, len(inputs.shape))
    sizes = dict(zip(kernel, layer.kernel.shape, strict=True))
    grouped = [c for c in kernel if c in ins and c in outs]
    summed = [c for c in kernel if c not in outs]
    made = [c for c in kernel if c not in ins]
    positions = [c for c in ins[1:] if c in outs and c not in kernel]
    order = [*grouped, *summed, *made]
    layout = Layout(
        tuple(sizes[c] for c in order), tuple(order.index(c) for c in kernel)
    )
    g, i, o = (math.prod(sizes[c] for c in part) for part in (grouped, summed, made))
    place, bias = site.place(layer.kernel), site.place(layer.bias)

    def factors(a: Any, d: Any) -> Parts:
        q, m = d.shape[:2]
        parts: Parts = []
        if bias is not None:
            shape = layer.bias.shape
            shape = (1,) * (len(outs) - 1 - len(shape)) + tuple(shape)
            parts += explicit(bias, summed_to(d, shape))
        if place is not None:
            axes = [ins.index(c) for c in [ins[0], *positions, *grouped, *summed]]
            a = ops.reshape(ops.transpose(a, axes), (m, -1, g, i))
            axes = [1 + outs.index(c) for c in [outs[0], *positions, *grouped, *made]]
            d = ops.reshape(ops.transpose(d, (0, *axes)), (q, m, -1, g, o))
            parts += outer(place, None, layout, a, d)
        return parts

    y = site.tap(y, inputs, factors)
    return y if layer.activation is None else layer.activation(y)
