"""Dense: one outer product a position."""

from typing import Any

import keras
from keras import ops

from keras_kd.ntk.factors.outer import Layout
from keras_kd.ntk.rules.site import Parts, Site, outer


def dense(layer: keras.layers.Layer, site: Site, inputs: Any) -> Any:
    y = ops.matmul(inputs, layer.kernel)
    if layer.bias is not None:
        y = ops.add(y, layer.bias)
    size, units = layer.kernel.shape
    kernel, bias = site.place(layer.kernel), site.place(layer.bias)
    layout = Layout((1, size, units), (0, 1, 2))

    def factors(a: Any, d: Any) -> Parts:
        m = a.shape[0]
        a = ops.reshape(a, (m, -1, 1, size))
        d = ops.reshape(d, (d.shape[0], m, -1, 1, units))
        return outer(kernel, bias, layout, a, d)

    y = site.tap(y, inputs, factors)
    return y if layer.activation is None else layer.activation(y)
