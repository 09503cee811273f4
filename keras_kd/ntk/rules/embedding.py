"""Embedding: a row's gradient is the sum over the places where it was looked up."""

from typing import Any

import keras
from keras import ops

from keras_kd.ntk.factors.outer import Layout
from keras_kd.ntk.rules.site import Parts, Site, outer_of_ids


def embedding(layer: keras.layers.Layer, site: Site, inputs: Any) -> Any:
    ids = inputs
    if keras.backend.standardize_dtype(ids.dtype) not in ("int32", "int64"):
        ids = ops.cast(ids, "int32")
    y = ops.take(layer.embeddings, ids, axis=0)
    place = site.place(layer.embeddings)
    rows, size = layer.embeddings.shape
    layout = Layout((1, rows, size), (0, 1, 2))

    def factors(ids: Any, d: Any) -> Parts:
        m = ids.shape[0]
        ids = ops.reshape(ids, (m, -1))
        d = ops.reshape(d, (d.shape[0], m, -1, 1, size))
        return outer_of_ids(place, rows, layout, ids, d)

    return ops.cast(site.tap(y, ids, factors), layer.compute_dtype)
