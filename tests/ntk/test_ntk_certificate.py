"""Rules broken on purpose: the numbers stay right, and the layer is named."""

import keras
import numpy as np
import pytest
from jacobian_oracle import jacobian, kernel
from keras import layers, ops
from ntk_model_cases import Block
from ntk_models import BACKEND, build, disturb, inputs_for

from keras_kd.ntk import empirical_ntk
from keras_kd.ntk.rules import choice


def error(found, expected):
    assert found.shape == expected.shape
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


class Bent:
    """A site whose factors are made wrong."""

    def __init__(self, site, bend):
        self._site, self._bend = site, bend

    def __getattr__(self, name):
        return getattr(self._site, name)

    def tap(self, y, arrays, factors):
        return self._site.tap(y, arrays, lambda a, d: factors(a, self._bend(d)))


BENDS = {
    # A rule that is off by one part in a hundred, and one that takes the right
    # gradients for those of other examples.
    "scaled": lambda d: 1.01 * d,
    "permuted": lambda d: ops.roll(d, 1, axis=1),
}

LAYERS = {
    "dense": (layers.Dense, "dense"),
    "conv1d": (layers.Conv1D, "conv1d_same"),
    "einsum": (layers.EinsumDense, "einsum_ab_bc_to_ac_bias_c"),
    "depthwise": (layers.DepthwiseConv1D, "depthwise1d_same"),
    "transposed": (layers.Conv1DTranspose, "conv1d_transpose_valid"),
    "normalization": (layers.LayerNormalization, "layer_normalization_vector"),
    "embedding": (layers.Embedding, "embedding"),
}


@pytest.mark.parametrize("bend", BENDS)
@pytest.mark.parametrize("kind", LAYERS if BACKEND == "torch" else ["dense", "conv1d"])
def test_a_wrong_rule_is_found(kind, bend, monkeypatch, float64):
    cls, name = LAYERS[kind]
    model, spec = build(name)
    x = inputs_for(spec, 4)
    rule = choice._RULES[cls.call]

    def wrong(layer, site, inputs):
        return rule(layer, Bent(site, BENDS[bend]), inputs)

    monkeypatch.setitem(choice._RULES, cls.call, wrong)
    culprit = next(layer for layer in model.layers if isinstance(layer, cls))
    with pytest.warns(UserWarning, match=culprit.name):
        found = empirical_ntk(model, x, outputs="full")
    assert error(found, kernel(jacobian(model, x), outputs="full")) < 1e-10


def test_only_the_wrong_layer_is_named(monkeypatch, float64):
    model, spec = build("dense")
    hidden, logits = (
        layer for layer in model.layers if isinstance(layer, layers.Dense)
    )
    rule = choice._RULES[layers.Dense.call]

    def wrong(layer, site, inputs):
        site = Bent(site, BENDS["scaled"]) if layer is hidden else site
        return rule(layer, site, inputs)

    monkeypatch.setitem(choice._RULES, layers.Dense.call, wrong)
    with pytest.warns(UserWarning, match="structure") as caught:
        empirical_ntk(model, inputs_for(spec, 3))
    said = " ".join(str(w.message) for w in caught)
    assert hidden.name in said
    assert f"'{logits.name}'" not in said


class MinusBatchMean(layers.Layer):
    def call(self, x):
        return x - ops.mean(x, axis=0, keepdims=True)


class WeightedBatchMean(layers.Layer):
    def build(self, shape):
        self.weight = self.add_weight(shape=(shape[-1],), initializer="ones")

    def call(self, x):
        return x * self.weight - ops.mean(x, axis=0, keepdims=True)


class NeighbourInTheBatch(layers.Layer):
    def call(self, x):
        return x + ops.roll(x, 1, axis=0)


@pytest.mark.parametrize(
    "cls", [MinusBatchMean, WeightedBatchMean, NeighbourInTheBatch]
)
def test_a_layer_that_mixes_examples_is_refused_by_name(cls):
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(4, activation="tanh"),
            cls(name="the_mixer"),
            layers.Dense(3),
        ]
    )
    x = inputs_for((4,), 6, dtype="float32")
    before = model.get_weights()
    with pytest.raises(ValueError, match="the_mixer"):
        empirical_ntk(model, x)
    assert all(map(np.array_equal, before, model.get_weights()))
    # Also where the first two examples are the same.
    with pytest.raises(ValueError, match="the_mixer"):
        empirical_ntk(model, x[[0, 0, 1, 2, 3, 4]])


@pytest.mark.skipif(
    BACKEND == "tensorflow", reason="Keras's float8 gradients fail eagerly there."
)
def test_float8_policy():
    model = keras.Sequential(
        [
            keras.Input((16,)),
            layers.Dense(16, activation="tanh", name="hidden"),
            layers.Dense(3, name="logits"),
        ]
    )
    disturb(model)
    model.get_layer("hidden").quantize("float8")
    # What Keras calls the gradients of scales and histories are their next values.
    weights = [
        v
        for v in model.trainable_variables
        if not getattr(v, "overwrite_with_gradient", False)
    ]
    assert len(weights) == 4
    x = inputs_for((16,), 3, dtype="float32")
    expected = kernel(jacobian(model, x, weights))
    assert error(empirical_ntk(model, x, variables=weights), expected) < 1e-5
    assert error(empirical_ntk(model, x), expected) < 1e-5


def test_lora():
    model, spec = build("dense", "float32")
    model.layers[1].enable_lora(2)
    disturb(model)
    x = inputs_for(spec, 3, dtype="float32")
    found = empirical_ntk(model, x, outputs="full")
    assert error(found, kernel(jacobian(model, x), outputs="full")) < 1e-5


def test_int8_layers_are_constants():
    model = keras.Sequential(
        [keras.Input((16,)), layers.Dense(16, name="hidden"), layers.Dense(3)]
    )
    disturb(model)
    model.get_layer("hidden").quantize("int8")
    x = inputs_for((16,), 3, dtype="float32")
    assert error(empirical_ntk(model, x), kernel(jacobian(model, x))) < 1e-5


@pytest.mark.skipif(
    BACKEND != "jax",
    reason="Keras does not rematerialise on torch, nor in a graph on TensorFlow.",
)
def test_rematerialised_layers(float64):
    with keras.RematScope(mode="full"):
        model = keras.Sequential(
            [keras.Input((4,)), Block(4), layers.Dense(5, activation="silu")]
        )
    disturb(model)
    x = inputs_for((4,), 3)
    assert error(empirical_ntk(model, x), kernel(jacobian(model, x))) < 1e-10


def test_a_call_replaced_on_one_instance(float64):
    model, spec = build("dense")
    dense = model.layers[1]
    original = dense.call
    dense.call = lambda x, training=None: 3 * original(x) * ops.sum(dense.kernel**2)
    x = inputs_for(spec, 3)
    assert error(empirical_ntk(model, x), kernel(jacobian(model, x))) < 1e-10
    assert "call" in dense.__dict__
