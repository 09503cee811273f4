"""Every rule, in every form of the kernel, against plain automatic differentiation."""

import contextlib
import warnings

import keras
import numpy as np
import pytest
from float64 import float64_scope
from jacobian_oracle import kernel
from ntk_models import (
    BACKEND,
    CASES,
    GROUPS,
    OLD_KERAS_ON_TORCH,
    WARNED,
    build,
    inputs_for,
    take,
    together,
)

from keras_kd.ntk import empirical_ntk

N1, N2 = 3, 2

# PyTorch's attention treats masks in a way of its own: there the oracle runs on the
# same backend.
COMPARED_WITH_ITSELF = {
    "tensorflow": ("attention",),
    "jax": ("attention",),
    "torch": (),
}

# The rules are the same in each float type, and `test_exact` has them all: where
# compilation takes long, a product, a sum over examples' axes and a look-up.
IN_FLOAT32 = (
    list(GROUPS) if BACKEND == "torch" else ["dense", "normalization", "embedding"]
)


def error(found, expected):
    assert found.shape == expected.shape
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


def is_symmetric(found):
    # With all pairs of outputs, those change places too.
    axes = (1, 0, 3, 2) if found.ndim == 4 else (1, 0, 2)[: found.ndim]
    return np.array_equal(found, found.transpose(axes))


@contextlib.contextmanager
def no_rule_given_up():
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="The structure of layer")
        yield


def members(names, oracle, dtype="float64"):
    """The model of a group, its inputs, and the Jacobians of its members."""
    if len(names) == 1:
        model, spec = build(names[0], dtype)
        x = inputs_for(spec, N1 + N2, dtype=dtype)
    else:
        model, specs = together(names, dtype)
        x = [inputs_for(spec, N1 + N2, dtype=dtype) for spec in specs]
    return model, x, [oracle(name) for name in names]


def check(label, oracle, dtype, ways):
    """Compares; a group that is wrong is taken apart to say which case is."""
    names = GROUPS[label]
    if label in COMPARED_WITH_ITSELF[BACKEND]:
        for name in names:
            oracle(name, here=True)
    try:
        with no_rule_given_up():
            ways(*members(names, oracle, dtype))
    except Exception:
        for name in names:
            try:
                with no_rule_given_up():
                    ways(*members([name], oracle, dtype))
            except Exception as reason:
                raise AssertionError(f"The case '{name}': {reason}") from reason
        raise


@pytest.mark.parametrize("label", GROUPS)
def test_exact(label, oracle):
    def ways(model, x, jacobians):
        k = jacobians[0].shape[1]
        x1, x2 = take(x, slice(N1)), take(x, slice(N1, None))
        vector = np.random.default_rng(1).normal(size=k)
        forms = ["trace", "per_output", "full", k - 1, vector]
        if label != "probabilities":
            forms.append("pseudo")
        # Keras's attention on JAX computes parts of itself in float32.
        limit = 1e-8 if (BACKEND, label) == ("jax", "attention") else 1e-10
        for outputs in forms:
            found = empirical_ntk(model, x1, outputs=outputs)
            expected = sum(kernel(j[:N1], outputs=outputs) for j in jacobians)
            assert found.dtype == np.float64
            assert error(found, expected) < limit, outputs
            assert is_symmetric(found), outputs
        for outputs in ("trace", "full"):
            expected = sum(kernel(j[:N1], j[N1:], outputs) for j in jacobians)
            for options in (
                {"implementation": "structured"},
                {"implementation": "auto", "batch_size": 2},
            ):
                found = empirical_ntk(model, x1, x2, outputs=outputs, **options)
                assert error(found, expected) < limit, (outputs, options)

    with float64_scope():
        check(label, oracle, "float64", ways)


@pytest.mark.optimised
@pytest.mark.parametrize("label", IN_FLOAT32)
def test_float32(label, oracle):
    def ways(model, x, jacobians):
        # One output: what is compiled for the certificate.
        found = empirical_ntk(model, take(x, slice(N1)), outputs=0)
        assert found.dtype == np.float32
        assert error(found, sum(kernel(j[:N1], outputs=0) for j in jacobians)) < 1e-6

    check(label, oracle, "float32", ways)


@pytest.mark.parametrize(
    "name",
    ["conv2d_strided_same", "multi_head_attention", "embedding", "lstm", "dict_inputs"],
)
def test_by_the_plain_jacobian(name, oracle):
    # As in `check`, whichever test comes first.
    itself = any(name in GROUPS[label] for label in COMPARED_WITH_ITSELF[BACKEND])
    with float64_scope():
        if itself:
            oracle(name, here=True)
        model, x, (j,) = members([name], oracle)
        x1, x2 = take(x, slice(N1)), take(x, slice(N1, None))
        for outputs in ("trace", "per_output", "full", 1):
            options = {"outputs": outputs, "implementation": "jacobian"}
            found = empirical_ntk(model, x1, **options)
            assert error(found, kernel(j[:N1], outputs=outputs)) < 1e-10
            assert is_symmetric(found)
        found = empirical_ntk(model, x1, x2, implementation="jacobian", batch_size=2)
        assert error(found, kernel(j[:N1], j[N1:])) < 1e-10


@pytest.mark.parametrize("name", WARNED)
def test_what_breaks_a_rule_is_found_and_named(name, oracle):
    with float64_scope():
        if OLD_KERAS_ON_TORCH:
            oracle(name, here=True)
        model, x, (j,) = members([name], oracle)
        x1, x2 = take(x, slice(N1)), take(x, slice(N1, None))
        with pytest.warns(UserWarning, match=WARNED[name]):
            found = empirical_ntk(model, x1)
        assert error(found, kernel(j[:N1])) < 1e-10
        found = empirical_ntk(model, x1, x2, outputs="full")
        assert error(found, kernel(j[:N1], j[N1:], "full")) < 1e-10


def test_every_case_is_in_a_group():
    grouped = [name for names in GROUPS.values() for name in names]
    assert sorted([*grouped, *WARNED]) == sorted(CASES)
    assert keras.backend.floatx() == "float32"
