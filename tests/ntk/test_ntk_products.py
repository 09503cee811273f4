"""Diagonals, operators, similarities, features and plans beside whole Jacobians."""

import keras
import numpy as np
import pytest
from jacobian_oracle import jacobian, kernel
from ntk_models import build, disturb, inputs_for
from ntk_small import error, numbers, small

from keras_kd.ntk import (
    NTKOperator,
    empirical_ntk,
    ntk_diagonal,
    ntk_features,
    ntk_similarity,
    plan,
)
from keras_kd.ntk.factors.outer import OuterProduct

FORMS = ["trace", "full", 1, "pseudo", [1.0, -2.0, 0.5]]


@pytest.mark.parametrize("name", ["conv2d_same", "embedding", "lstm"])
def test_diagonal(name, float64):
    model, spec = build(name)
    x = inputs_for(spec, 5)
    j = jacobian(model, x)
    for outputs in [*FORMS, "per_output"]:
        expected = np.stack([kernel(one[None], outputs=outputs)[0, 0] for one in j])
        found = ntk_diagonal(model, x, outputs=outputs, batch_size=2)
        assert error(found, expected) < 1e-10, outputs


@pytest.mark.parametrize("name", ["conv2d_same", "embedding", "lstm"])
def test_operator(name, float64):
    model, spec = build(name)
    x = inputs_for(spec, 5)
    j = jacobian(model, x)
    rng = np.random.default_rng(0)
    for outputs in FORMS:
        expected = kernel(j, outputs=outputs)
        if outputs == "full":
            expected = expected.transpose(0, 2, 1, 3).reshape(15, 15)
        operator = NTKOperator(model, x, outputs=outputs, batch_size=2)
        assert operator.shape == expected.shape
        vectors = rng.normal(size=(len(expected), 2))
        assert error(operator @ vectors, expected @ vectors) < 1e-10, outputs
        assert error(operator.H @ vectors[:, 0], expected @ vectors[:, 0]) < 1e-10
    with pytest.raises(ValueError, match="`outputs`"):
        NTKOperator(model, x, outputs="per_output")


def test_operator_solves():
    from scipy.sparse.linalg import cg

    model, spec = build("conv1d_same", "float32")
    x = inputs_for(spec, 6, dtype="float32")
    matrix = empirical_ntk(model, x, accumulate="float64")
    target = np.arange(6.0)
    solution, failed = cg(NTKOperator(model, x), target, rtol=1e-8, maxiter=200)
    assert not failed
    np.testing.assert_allclose(solution, np.linalg.solve(matrix, target), rtol=1e-3)


def test_operator_without_memory_for_its_factors(monkeypatch, float64):
    from keras_kd.ntk import memory

    model, spec = build("dense")
    x = inputs_for(spec, 5)
    expected = kernel(jacobian(model, x)) @ np.ones(5)
    monkeypatch.setattr(memory, "_SHARE", 0.0)
    operator = NTKOperator(model, x, batch_size=2)
    assert error(operator @ np.ones(5), expected) < 1e-10
    disturb(model, 1)
    with pytest.raises(ValueError, match="weights"):
        operator @ np.ones(5)


def test_similarity_is_the_cosine(float64):
    a, spec = build("conv2d_same")
    b, _ = build("conv2d_valid")
    x = inputs_for(spec, 6)
    ja, jb = jacobian(a, x), jacobian(b, x)
    for outputs in ("trace", 1):
        p, q = kernel(ja, outputs=outputs), kernel(jb, outputs=outputs)
        expected = np.vdot(p, q) / np.linalg.norm(p) / np.linalg.norm(q)
        found = ntk_similarity(a, b, x, outputs=outputs)
        assert abs(found.cosine - expected) < 1e-10
        assert found.standard_error == 0
    assert abs(ntk_similarity(a, a, x).cosine - 1) < 1e-12


@pytest.mark.wrong_input
def test_a_similarity_beyond_the_largest_number_is_refused(float64):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    x = np.random.default_rng(0).normal(size=(5, 4)) * 1e90
    with pytest.raises(OverflowError, match="inner products inf, inf and inf"):
        ntk_similarity(model, model, x)


def test_similarity_of_full_kernels_is_within_its_error(float64):
    a, spec = build("dense")
    b, _ = build("dense_no_bias")
    disturb(b, 5)
    x = inputs_for(spec, 6)
    p, q = (
        kernel(jacobian(a, x), outputs="full"),
        kernel(jacobian(b, x), outputs="full"),
    )
    expected = np.vdot(p, q) / np.linalg.norm(p) / np.linalg.norm(q)
    estimates = [
        ntk_similarity(a, b, x, outputs="full", probes=64, seed=seed)
        for seed in range(20)
    ]
    z = np.array([(s.cosine - expected) / s.standard_error for s in estimates])
    assert np.abs(z).max() < 5
    # The errors are neither too small nor too large, as a whole.
    assert 0.4 < np.sqrt(np.mean(z**2)) < 1.8
    spread = np.std([s.cosine for s in estimates])
    assert spread < 0.2


@pytest.mark.parametrize("name", ["dense", "conv2d_same", "embedding", "shared_dense"])
def test_features_converge(name):
    model, spec = build(name, "float32")
    x = inputs_for(spec, 4, dtype="float32")
    expected = kernel(jacobian(model, x))
    errors = []
    for dim in (64, 4096):
        found = []
        for seed in range(4):
            phi = ntk_features(model, x, dim, seed)
            assert phi.shape == (4, dim)
            found.append(error(phi @ phi.T, expected))
        errors.append(np.mean(found))
    # The error falls as 1 / sqrt(dim): by 8.
    assert errors[1] < 0.1
    assert 4 < errors[0] / errors[1] < 16


def test_features_of_one_seed_are_the_same_for_every_batch_size():
    model, spec = build("conv2d_same", "float32")
    x = inputs_for(spec, 5, dtype="float32")
    one = ntk_features(model, x, 32, seed=3)
    np.testing.assert_allclose(
        ntk_features(model, x, 32, seed=3, batch_size=2), one, rtol=1e-3, atol=1e-4
    )
    assert not np.allclose(ntk_features(model, x, 32, seed=4), one)
    with pytest.raises(ValueError, match="`dim`"):
        ntk_features(model, x, 0)


@pytest.mark.parametrize("name", ["conv2d_grouped_strided", "conv1d_same", "embedding"])
def test_features_by_gradients_and_by_positions(name, monkeypatch, float64):
    model, spec = build(name)
    x = inputs_for(spec, 3)
    found = []
    for form in (True, False):
        monkeypatch.setattr(
            OuterProduct, "_form_to_project", lambda *_, form=form: form
        )
        found.append(ntk_features(model, x, 16))
    np.testing.assert_allclose(*found, rtol=1e-9, atol=1e-12)


def test_features_agree_between_backends():
    model, x = small(), numbers(2)
    found = ntk_features(model, x, 4, seed=0)
    np.testing.assert_allclose(found, FEATURES, rtol=1e-4, atol=1e-5)


FEATURES = [
    [2.0409202575683594, 0.709324300289154, 0.5949364304542542, -0.6688086986541748],
    [2.706251621246338, 2.355906, 0.531675, -0.403991],
]


def test_plan():
    model, spec = build("conv2d_same", "float32")
    x = inputs_for(spec, 2, dtype="float32")
    small_plan, large_plan = plan(model, x, 1000), plan(model, x, 2000)
    named = [path for layer in large_plan.layers for path in layer.weights]
    assert sorted(set(named)) == sorted(v.path for v in model.trainable_variables)
    assert 3.9 < large_plan.operations / small_plan.operations < 4.1
    assert large_plan.bytes > small_plan.bytes
    assert large_plan.seconds > 0
    assert all(layer.rule for layer in large_plan.layers)
    text = str(large_plan)
    assert all(path in text for path in named)
    with pytest.raises(ValueError, match="`n`"):
        plan(model, x, 0)
