"""Which rule a layer has."""

from typing import Any

import keras

from keras_kd.keras_internals import is_rematerialized
from keras_kd.ntk.rules.convolution import convolution
from keras_kd.ntk.rules.convolution_transpose import convolution_transpose
from keras_kd.ntk.rules.dense import dense
from keras_kd.ntk.rules.depthwise import depthwise, separable
from keras_kd.ntk.rules.einsum_dense import einsum_dense, is_supported
from keras_kd.ntk.rules.embedding import embedding
from keras_kd.ntk.rules.normalization import (
    batch_normalization,
    group_normalization,
    layer_normalization,
    rms_normalization,
)
from keras_kd.ntk.rules.prelu import prelu
from keras_kd.ntk.rules.site import Rule

_layers = keras.layers

# By the function that a class runs: a subclass with a `call` of its own has no rule.
_RULES: dict[Any, Rule] = {
    cls.call: rule
    for rule, classes in {
        dense: [_layers.Dense],
        einsum_dense: [_layers.EinsumDense],
        convolution: [_layers.Conv1D, _layers.Conv2D, _layers.Conv3D],
        convolution_transpose: [
            _layers.Conv1DTranspose,
            _layers.Conv2DTranspose,
            _layers.Conv3DTranspose,
        ],
        depthwise: [_layers.DepthwiseConv1D, _layers.DepthwiseConv2D],
        separable: [_layers.SeparableConv1D, _layers.SeparableConv2D],
        batch_normalization: [_layers.BatchNormalization],
        layer_normalization: [_layers.LayerNormalization],
        group_normalization: [_layers.GroupNormalization],
        rms_normalization: [_layers.RMSNormalization],
        embedding: [_layers.Embedding],
        prelu: [_layers.PReLU],
    }.items()
    for cls in classes
}

# They call other layers in loops or maps, where nothing can be tapped.
_OPAQUE = (_layers.RNN, _layers.Bidirectional, _layers.TimeDistributed)


def rule_of(layer: keras.layers.Layer) -> Rule | None:
    """The rule for a layer's own weights; `None` where there is none that holds."""
    if (
        getattr(layer, "quantization_mode", None)
        or getattr(layer, "lora_enabled", False)
        or is_rematerialized(layer)
        or _has_call_of_its_own(layer)
    ):
        return None
    rule = _RULES.get(type(layer).call)
    if rule is einsum_dense and not is_supported(layer):
        return None
    if rule is layer_normalization and layer.rms_scaling:
        return None
    return rule


def _has_call_of_its_own(layer: keras.layers.Layer) -> bool:
    call = layer.__dict__.get("call")
    return call is not None and not hasattr(call, "is_watcher")


def is_opaque(layer: keras.layers.Layer) -> bool:
    """Whether the layers inside of `layer` are out of reach."""
    return isinstance(layer, _OPAQUE) or is_rematerialized(layer)
