"""The system of the features' dimension gives what the kernel's does."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_kd.complexity import (
    FeatureFactorization,
    adjusted_supervision_complexity,
    predict,
    supervision_complexity,
)

pytestmark = pytest.mark.once


def draw(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(1, 20),
    dim=st.integers(1, 20),
    seed=st.integers(0, 2**20),
    ridge=st.floats(1e-3, 10),
)
def test_woodbury(n, dim, seed, ridge):
    features, targets = draw(seed, n, dim), draw(seed + 1, n, 2)
    fast = FeatureFactorization(features, ridge)
    kernel = features @ features.T
    for measure in (supervision_complexity, adjusted_supervision_complexity):
        expected = float(measure(kernel, targets, ridge))
        result = measure(fast, targets)
        assert float(result) == pytest.approx(expected, rel=1e-8)
        assert result.ridge == ridge
        assert result.residual < 1e-7


def test_small_ridge_keeps_its_digits():
    """Targets in the span, where the textbook difference would cancel."""
    features = draw(0, 300, 10)
    weights = draw(1, 10, 1)
    result = supervision_complexity(
        FeatureFactorization(features, 1e-9), features @ weights
    )
    assert float(result) == pytest.approx(np.linalg.norm(weights), rel=1e-9)


def test_blocks_of_rows(monkeypatch):
    features, targets = draw(0, 30, 5), draw(1, 30, 2)
    whole = FeatureFactorization(features, 0.1)
    expected = whole.solve(targets), whole.leave_one_out(targets)
    monkeypatch.setattr("keras_kd.complexity.solvers.random_features._ROWS", 7)
    parts = FeatureFactorization(features, 0.1)
    found = parts.solve(targets), parts.leave_one_out(targets)
    np.testing.assert_allclose(
        found[0].coefficients, expected[0].coefficients, rtol=1e-9
    )
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-9)


def test_prediction():
    features, new, targets = draw(0, 25, 6), draw(1, 4, 6), draw(2, 25, 3)
    expected = predict(features @ features.T, new @ features.T, targets, 0.3)
    found = predict(FeatureFactorization(features, 0.3), new, targets)
    np.testing.assert_allclose(found.predictions, expected.predictions, rtol=1e-8)
    np.testing.assert_allclose(found.leave_one_out, expected.leave_one_out, rtol=1e-8)
    error = expected.leave_one_out_error
    assert found.leave_one_out_error == pytest.approx(error, rel=1e-8)


def test_float32_features_are_summed_in_float64():
    features = draw(0, 200, 4).astype("float32")
    wide = features.astype("float64")
    y = np.ones(200)
    found = supervision_complexity(FeatureFactorization(features, 1e-6), y)
    expected = supervision_complexity(FeatureFactorization(wide, 1e-6), y)
    assert float(found) == float(expected)
