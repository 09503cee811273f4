"""Random architectures: exact, symmetric, the same in blocks."""

import contextlib

import keras
import numpy as np
from float64 import float64_scope
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from jacobian_oracle import jacobian, kernel
from keras import layers
from ntk_models import BACKEND, disturb, inputs_for

from keras_kd.ntk import empirical_ntk

# PyTorch 2.13 has no gradient of some small convolutions in float64.
DTYPE = "float32" if BACKEND == "torch" else "float64"
SCOPE = contextlib.nullcontext if BACKEND == "torch" else float64_scope
TOLERANCE = 1e-5 if BACKEND == "torch" else 1e-10

ACTIVATIONS = st.sampled_from(["tanh", "gelu", "silu", None])


@st.composite
def image_layers(draw):
    """A layer of images that keeps them images."""
    kind = draw(st.sampled_from(["conv", "depthwise", "separable", "dense", "norm"]))
    size = draw(st.integers(1, 3))
    padding = draw(st.sampled_from(["same", "valid"]))
    strides = draw(st.integers(1, 2))
    bias = draw(st.booleans())
    options = {"padding": padding, "strides": strides, "use_bias": bias}
    if kind == "conv":
        return layers.Conv2D(draw(st.integers(1, 4)), size, **options)
    if kind == "depthwise":
        multiplier = draw(st.integers(1, 2))
        return layers.DepthwiseConv2D(size, depth_multiplier=multiplier, **options)
    if kind == "separable":
        return layers.SeparableConv2D(draw(st.integers(1, 3)), size, **options)
    if kind == "dense":
        return layers.Dense(draw(st.integers(1, 4)), use_bias=bias)
    return draw(
        st.sampled_from(
            [layers.BatchNormalization, layers.LayerNormalization, layers.PReLU]
        )
    )()


@settings(
    max_examples=8 if BACKEND == "torch" else 4,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)
@given(st.data())
def test_random_networks(data):
    with SCOPE():
        inputs = keras.Input((9, 8, 2))
        x, seen, frozen = inputs, [], []
        for _ in range(data.draw(st.integers(1, 4))):
            if seen and data.draw(st.integers(0, 3)) == 0:
                # An earlier layer once more, where it fits.
                layer, channels = data.draw(st.sampled_from(seen))
                if x.shape[-1] != channels or isinstance(layer, layers.PReLU):
                    continue
            else:
                layer = data.draw(image_layers())
                if min(x.shape[1:3]) < 3:
                    continue
            channels = x.shape[-1]
            y = layers.Activation(data.draw(ACTIVATIONS))(layer(x))
            if 0 in y.shape:
                continue
            seen.append((layer, channels))
            same = y.shape == x.shape
            x = x + y if same and data.draw(st.booleans()) else y
            if data.draw(st.integers(0, 4)) == 0:
                layer.trainable = False
                frozen.append(layer)
        x = layers.Flatten()(x) if data.draw(st.booleans()) else x
        if len(x.shape) > 2:
            x = layers.GlobalAveragePooling2D()(x)
        k = data.draw(st.integers(1, 3))
        model = disturb(keras.Model(inputs, layers.Dense(k)(x)))
        n, m = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 3))
        x1, x2 = (
            inputs_for((9, 8, 2), n, dtype=DTYPE),
            inputs_for((9, 8, 2), m, seed=1, dtype=DTYPE),
        )
        j1, j2 = jacobian(model, x1), jacobian(model, x2)
        outputs = data.draw(st.sampled_from(["trace", "per_output", "full", k - 1]))
        implementation = data.draw(st.sampled_from(["auto", "structured"]))
        batch_size = data.draw(st.sampled_from([None, 1, 2]))
        options = {
            "outputs": outputs,
            "implementation": implementation,
            "batch_size": batch_size,
        }
        for found, expected in (
            (empirical_ntk(model, x1, **options), kernel(j1, outputs=outputs)),
            (empirical_ntk(model, x1, x2, **options), kernel(j1, j2, outputs)),
        ):
            assert found.shape == expected.shape
            gap = np.linalg.norm(found - expected)
            assert gap <= TOLERANCE * np.linalg.norm(expected)
