"""Normalisations: scale and shift of the normalised input.

The normalised input is taken itself, never as `(y - beta) / gamma`, which a `gamma`
of zero would lose.
"""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_kd.ntk.rules.site import Parts, Site, explicit, summed_to


def _scaled(
    site: Site,
    normalized: Any,
    scale: keras.Variable | None,
    shift: keras.Variable | None,
    shape: tuple[int, ...],
    dtype: str,
) -> Any:
    """`normalized * scale + shift`, tapped.

    Args:
        normalized: `(m, *rest)`.
        scale: variable or `None`.
        shift: variable or `None`.
        shape: the variables' as broadcast, as many axes as `rest`.
        dtype: of the outputs.
    """
    y = normalized
    if scale is not None:
        y = y * ops.reshape(ops.cast(scale, y.dtype), (1, *shape))
    if shift is not None:
        y = y + ops.reshape(ops.cast(shift, y.dtype), (1, *shape))
    gamma, beta = site.place(scale), site.place(shift)

    def factors(x: Any, d: Any) -> Parts:
        parts: Parts = []
        if gamma is not None:
            parts += explicit(gamma, summed_to(d * x[None], shape))
        if beta is not None:
            parts += explicit(beta, summed_to(d, shape))
        return parts

    return ops.cast(site.tap(y, normalized, factors), dtype)


def _broadcast(inputs: Any, axes: Sequence[int]) -> tuple[int, ...]:
    rank = len(inputs.shape)
    kept = {axis % rank for axis in axes}
    return tuple(inputs.shape[i] if i in kept else 1 for i in range(1, rank))


def _wide(x: Any) -> Any:
    return ops.cast(x, keras.backend.result_type(x.dtype, "float32"))


def batch_normalization(layer: keras.layers.Layer, site: Site, inputs: Any) -> Any:
    x = _wide(inputs)
    normalized = ops.batch_normalization(
        x,
        mean=ops.cast(layer.moving_mean, x.dtype),
        variance=ops.cast(layer.moving_variance, x.dtype),
        axis=layer.axis,
        epsilon=layer.epsilon,
    )
    scale = layer.gamma if layer.scale else None
    shift = layer.beta if layer.center else None
    shape = _broadcast(x, [layer.axis])
    return _scaled(site, normalized, scale, shift, shape, layer.compute_dtype)


def layer_normalization(layer: keras.layers.Layer, site: Site, inputs: Any) -> Any:
    axes = layer.axis if isinstance(layer.axis, list | tuple) else [layer.axis]
    normalized = ops.layer_normalization(
        _wide(inputs), axis=list(axes), epsilon=layer.epsilon
    )
    scale = layer.gamma if layer.scale else None
    shift = layer.beta if layer.center else None
    shape = _broadcast(inputs, axes)
    return _scaled(site, normalized, scale, shift, shape, layer.compute_dtype)


def rms_normalization(layer: keras.layers.Layer, site: Site, inputs: Any) -> Any:
    axes = layer.axis if isinstance(layer.axis, list | tuple) else [layer.axis]
    normalized = ops.rms_normalization(
        _wide(inputs), axis=layer.axis, epsilon=layer.epsilon
    )
    shape = _broadcast(inputs, axes)
    return _scaled(site, normalized, layer.scale, None, shape, inputs.dtype)


def group_normalization(layer: keras.layers.Layer, site: Site, inputs: Any) -> Any:
    x = _wide(inputs)
    rank = len(x.shape)
    axis = layer.axis % rank
    split = list(x.shape)
    split[axis : axis + 1] = [layer.groups, split[axis] // layer.groups]
    grouped = ops.reshape(x, split)
    axes = [i for i in range(1, rank + 1) if i != axis]
    mean, variance = ops.moments(grouped, axes=axes, keepdims=True)
    normalized = (grouped - mean) * ops.rsqrt(variance + layer.epsilon)
    normalized = ops.reshape(normalized, x.shape)
    scale = layer.gamma if layer.scale else None
    shift = layer.beta if layer.center else None
    shape = _broadcast(x, [axis])
    return _scaled(site, normalized, scale, shift, shape, layer.compute_dtype)
