"""Convolutions, of any rank, with strides, dilation and groups."""

from typing import Any

import keras
from keras import ops

from keras_kd.ntk.factors.outer import Layout
from keras_kd.ntk.rules.geometry import (
    add_bias,
    causal_padding,
    channels_last,
    geometry,
)
from keras_kd.ntk.rules.site import Parts, Site, outer_of_patches


def convolution(layer: keras.layers.Layer, site: Site, inputs: Any) -> Any:
    x, padding = inputs, layer.padding
    if padding == "causal":
        x = ops.pad(x, causal_padding(layer))
        padding = "valid"
    y = ops.conv(
        x,
        layer.kernel,
        strides=list(layer.strides),
        padding=padding,
        dilation_rate=layer.dilation_rate,
        data_format=layer.data_format,
    )
    y = add_bias(y, layer)
    kernel = site.place(layer.kernel)
    bias = site.place(layer.bias) if layer.use_bias else None
    *sizes, channels, filters = layer.kernel.shape
    g = layer.groups
    i = channels
    for k in sizes:
        i *= k
    layout = Layout((g, i, filters // g), (1, 0, 2))

    def factors(images: Any, d: Any) -> Parts:
        images = channels_last(images, layer)
        d = channels_last(d, layer, 2)
        q, m, *points, _ = d.shape
        shape = geometry(
            images.shape[1:-1],
            points,
            sizes,
            layer.strides,
            layer.dilation_rate,
            layer.padding,
        )
        images = ops.reshape(images, (*images.shape[:-1], g, channels))
        d = ops.reshape(d, (q, m, -1, g, filters // g))
        return outer_of_patches(kernel, bias, layout, shape, images, d)

    y = site.tap(y, inputs, factors)
    return y if layer.activation is None else layer.activation(y)
