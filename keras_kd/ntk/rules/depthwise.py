"""Depthwise convolutions, alone and as the first half of separable ones.

Their kernels are small, a patch for each channel: the gradients are written out.
"""

from typing import Any

import keras
from keras import ops

from keras_kd.ntk.factors.outer import Layout
from keras_kd.ntk.rules.geometry import (
    add_bias,
    causal_padding,
    channels_last,
    geometry,
    windows,
)
from keras_kd.ntk.rules.site import Parts, Site, explicit, outer, summed_to


def depthwise(layer: keras.layers.Layer, site: Site, inputs: Any) -> Any:
    y = ops.depthwise_conv(
        inputs,
        layer.kernel,
        strides=layer.strides,
        padding=layer.padding,
        dilation_rate=layer.dilation_rate,
        data_format=layer.data_format,
    )
    y = add_bias(y, layer)
    kernel = site.place(layer.kernel)
    bias = site.place(layer.bias) if layer.use_bias else None

    def factors(images: Any, d: Any) -> Parts:
        parts: Parts = []
        if bias is not None:
            last = channels_last(d, layer, 2)
            shape = (*(1 for _ in last.shape[2:-1]), last.shape[-1])
            parts += explicit(bias, summed_to(last, shape))
        if kernel is not None:
            gradients = _kernel_gradients(layer, layer.kernel, images, d)
            parts += explicit(kernel, gradients)
        return parts

    y = site.tap(y, inputs, factors)
    return y if layer.activation is None else layer.activation(y)


def _kernel_gradients(
    layer: keras.layers.Layer, kernel: keras.Variable, images: Any, d: Any
) -> Any:
    """`(q, m, points, channels, multiplier)`."""
    images = channels_last(images, layer)
    d = channels_last(d, layer, 2)
    q, m, *points, _ = d.shape
    *sizes, channels, multiplier = kernel.shape
    shape = geometry(
        images.shape[1:-1],
        points,
        sizes,
        layer.strides,
        layer.dilation_rate,
        layer.padding,
    )
    d = ops.reshape(d, (q, m, *points, channels, multiplier))
    axes = tuple(range(2, 2 + len(points)))
    return ops.stack(
        [
            ops.sum(window[None, ..., None] * d, axis=axes)
            for window in windows(images, shape)
        ],
        axis=2,
    )


def separable(layer: keras.layers.Layer, site: Site, inputs: Any) -> Any:
    x, padding = inputs, layer.padding
    if padding == "causal":
        x = ops.pad(x, causal_padding(layer))
        padding = "valid"
    middle = ops.depthwise_conv(
        x,
        layer.depthwise_kernel,
        strides=layer.strides,
        padding=padding,
        dilation_rate=layer.dilation_rate,
        data_format=layer.data_format,
    )
    first = site.place(layer.depthwise_kernel)
    second = site.place(layer.pointwise_kernel)
    bias = site.place(layer.bias) if layer.use_bias else None
    channels, filters = layer.pointwise_kernel.shape[-2:]
    layout = Layout((1, channels, filters), (0, 1, 2))

    def depthwise_factors(images: Any, d: Any) -> Parts:
        if first is None:
            return []
        return explicit(
            first, _kernel_gradients(layer, layer.depthwise_kernel, images, d)
        )

    def pointwise_factors(a: Any, d: Any) -> Parts:
        a = channels_last(a, layer)
        d = channels_last(d, layer, 2)
        m = a.shape[0]
        a = ops.reshape(a, (m, -1, 1, channels))
        d = ops.reshape(d, (d.shape[0], m, -1, 1, filters))
        return outer(second, bias, layout, a, d)

    middle = site.tap(middle, inputs, depthwise_factors)
    y = ops.conv(
        middle,
        layer.pointwise_kernel,
        strides=1,
        padding="valid",
        data_format=layer.data_format,
    )
    y = site.tap(add_bias(y, layer), middle, pointwise_factors)
    return y if layer.activation is None else layer.activation(y)
