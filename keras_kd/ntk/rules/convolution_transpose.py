"""Transposed convolutions: the cotangents are cut into patches, not the inputs."""

from typing import Any

import keras
from keras import ops

from keras_kd.ntk.factors.outer import Layout
from keras_kd.ntk.rules.geometry import add_bias, channels_last, geometry, windows
from keras_kd.ntk.rules.site import Parts, Site, explicit, outer, summed_to


def convolution_transpose(layer: keras.layers.Layer, site: Site, inputs: Any) -> Any:
    y = ops.conv_transpose(
        inputs,
        layer.kernel,
        strides=list(layer.strides),
        padding=layer.padding,
        output_padding=layer.output_padding,
        dilation_rate=layer.dilation_rate,
        data_format=layer.data_format,
    )
    y = add_bias(y, layer)
    kernel = site.place(layer.kernel)
    bias = site.place(layer.bias) if layer.use_bias else None
    *sizes, filters, channels = layer.kernel.shape
    points = 1
    for k in sizes:
        points *= k
    layout = Layout((1, channels, points * filters), (0, 2, 1))

    def factors(x: Any, d: Any) -> Parts:
        x = channels_last(x, layer)
        d = channels_last(d, layer, 2)
        q, m, *spatial, _ = d.shape
        parts: Parts = []
        if bias is not None:
            parts += explicit(bias, summed_to(d, (*(1 for _ in spatial), filters)))
        if kernel is not None:
            # Scattering a patch from each point is the transpose of gathering one.
            shape = geometry(
                spatial,
                x.shape[1:-1],
                sizes,
                layer.strides,
                layer.dilation_rate,
                layer.padding,
            )
            joined = ops.reshape(d, (q * m, *spatial, filters))
            patches = ops.stack(windows(joined, shape), axis=-2)
            patches = ops.reshape(patches, (q, m, -1, 1, points * filters))
            x = ops.reshape(x, (m, -1, 1, channels))
            parts += outer(kernel, None, layout, x, patches)
        return parts

    y = site.tap(y, inputs, factors)
    return y if layer.activation is None else layer.activation(y)
