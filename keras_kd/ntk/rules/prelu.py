"""PReLU: a learned slope for negative inputs."""

from typing import Any

import keras
from keras import ops

from keras_kd.ntk.rules.site import Parts, Site, explicit, summed_to


def prelu(layer: keras.layers.Layer, site: Site, inputs: Any) -> Any:
    below = -ops.relu(-inputs)
    y = ops.relu(inputs) + layer.alpha * below
    place = site.place(layer.alpha)
    shape = tuple(layer.alpha.shape)

    def factors(below: Any, d: Any) -> Parts:
        if place is None:
            return []
        return explicit(place, summed_to(d * below[None], shape))

    return site.tap(y, below, factors)
