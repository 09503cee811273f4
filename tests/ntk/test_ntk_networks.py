"""Real networks, against Jacobians from another process and, mostly, backend."""

import numpy as np
import pytest
from float64 import float64_scope
from jacobian_oracle import kernel
from ntk_models import BACKEND
from ntk_networks import NETWORKS, examples, network

from keras_kd.ntk import empirical_ntk

# One less than the oracle's.
N = 2

# Whose convolutions take longer without XLA's optimisations than these do.
WIDE = ("lenet5x8", "mobilenet_v3")


def error(found, expected):
    assert found.shape == expected.shape
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.optimised] if name in WIDE else [])
        for name in NETWORKS
    ],
)
def test_networks(name, oracle):
    j = oracle(name)
    # Keras's attention on JAX computes parts of itself in float32.
    limit = 1e-7 if (BACKEND, name) == ("jax", "vision_transformer") else 1e-10
    with float64_scope():
        model, x = network(name), examples(name, N + 1)
        found = empirical_ntk(model, x[:N], outputs="full")
        expected = kernel(j[:N], outputs="full")
        assert error(found, expected) < limit
        found = empirical_ntk(model, x[:N], outputs=-1)
        assert error(found, expected[..., -1, -1]) < limit
        # A block of other rows and columns, of the shape that is compiled.
        found = empirical_ntk(model, x[:N], x[1:], outputs="full")
        assert error(found, kernel(j[:N], j[1:], "full")) < limit
