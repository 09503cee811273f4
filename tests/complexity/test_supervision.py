"""Supervision complexity against other solvers, and what must not change it."""

import copy
import math

import numpy as np
import pytest
from complexity_kernels import flat, forms, random_full_kernel, random_kernel
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ortho_group
from sklearn.kernel_ridge import KernelRidge

from keras_kd.complexity import (
    KernelFactorization,
    adjusted_supervision_complexity,
    supervision_complexity,
)

pytestmark = pytest.mark.once

seeds = st.integers(0, 2**20)
sizes = st.integers(2, 12)
few = settings(max_examples=25, deadline=None)


def targets_of(n, k=2, seed=1):
    return np.random.default_rng(seed).standard_normal((n, k))


@pytest.mark.parametrize("ridge", [1e-3, 1.0, 50.0])
@pytest.mark.parametrize("n", [1, 5, 80])
def test_kernel_ridge_regression(n, ridge):
    kernel, targets = random_kernel(n), targets_of(n, 3)
    oracle = KernelRidge(alpha=ridge, kernel="precomputed").fit(kernel, targets)
    expected = math.sqrt(np.vdot(targets, oracle.dual_coef_))
    result = supervision_complexity(kernel, targets, ridge)
    assert float(result) == pytest.approx(expected, rel=1e-10)
    assert result.ridge == ridge
    assert result.residual < 1e-11
    assert result.iterations is None


def test_minimum_norm_fit_in_a_feature_space():
    features = np.random.default_rng(0).standard_normal((10, 40))
    targets = targets_of(10)
    weights = np.linalg.lstsq(features, targets, rcond=None)[0]
    result = supervision_complexity(features @ features.T, targets)
    assert float(result) == pytest.approx(np.linalg.norm(weights), rel=1e-10)


@pytest.mark.parametrize("n", [30, 150])
def test_condition_number(n):
    kernel = random_kernel(n)
    values = np.linalg.eigvalsh(kernel) + 0.5
    found = supervision_complexity(kernel, np.ones(n), 0.5).condition_number
    assert found == pytest.approx(values[-1] / values[0], rel=0.03)


def test_a_kernel_an_output():
    kernels = np.stack([random_kernel(9, seed) for seed in range(3)], axis=-1)
    targets = targets_of(9, 3)
    squares = [
        targets[:, c] @ np.linalg.solve(kernels[..., c], targets[:, c])
        for c in range(3)
    ]
    result = supervision_complexity(kernels, targets)
    assert float(result) == pytest.approx(math.sqrt(sum(squares)), rel=1e-10)
    trace = sum(np.trace(kernels[..., c]) for c in range(3)) / 3
    adjusted = adjusted_supervision_complexity(kernels, targets)
    expected = math.sqrt(sum(squares) * trace) / 9
    assert float(adjusted) == pytest.approx(expected, rel=1e-10)


def test_full_kernel():
    full, targets = random_full_kernel(7, 3), targets_of(7, 3)
    matrix, vector = flat(full), targets.reshape(-1)
    square = vector @ np.linalg.solve(matrix, vector)
    result = supervision_complexity(full, targets)
    assert float(result) == pytest.approx(math.sqrt(square), rel=1e-10)
    adjusted = adjusted_supervision_complexity(full, targets)
    expected = math.sqrt(square * np.trace(matrix) / 3) / 7
    assert float(adjusted) == pytest.approx(expected, rel=1e-10)


@few
@given(n=sizes, k=st.integers(1, 4), seed=seeds, ridge=st.floats(0.01, 10))
def test_the_forms_of_a_kernel_agree(n, k, seed, ridge):
    targets = targets_of(n, k, seed)
    kernels = forms(random_kernel(n, seed), k)
    for measure in (supervision_complexity, adjusted_supervision_complexity):
        values = [float(measure(form, targets, ridge)) for form in kernels.values()]
        np.testing.assert_allclose(values, values[0], rtol=1e-9)


def test_identical_outputs_have_the_adjusted_complexity_of_one_times_sqrt_k():
    kernel, y = random_kernel(8), targets_of(8, 1)
    one = adjusted_supervision_complexity(kernel, y)
    for form in forms(kernel, 4).values():
        four = adjusted_supervision_complexity(form, np.repeat(y, 4, axis=1))
        assert float(four) == pytest.approx(2 * float(one), rel=1e-10)


@few
@given(n=sizes, seed=seeds, scale=st.floats(-6, 6), ridge=st.floats(0, 10))
def test_adjusted_complexity_has_no_scale(n, seed, scale, ridge):
    kernel, targets, scale = random_kernel(n, seed), targets_of(n), 10**scale
    before = adjusted_supervision_complexity(kernel, targets, ridge)
    after = adjusted_supervision_complexity(scale * kernel, targets, scale * ridge)
    assert float(after) == pytest.approx(float(before), rel=1e-8)
    doubled = adjusted_supervision_complexity(kernel, 2 * targets, ridge)
    assert float(doubled) == pytest.approx(2 * float(before), rel=1e-8)


@few
@given(n=sizes, k=st.integers(2, 4), seed=seeds)
def test_orthogonal_change_of_basis_of_the_outputs(n, k, seed):
    rotation = ortho_group.rvs(k, random_state=seed)
    targets = targets_of(n, k, seed)
    kernel, full = random_kernel(n, seed), random_full_kernel(n, k, seed)
    turned = np.einsum("ijop,oq,pr->ijqr", full, rotation, rotation)
    turned = (turned + turned.transpose(1, 0, 3, 2)) / 2
    for before, after in ((kernel, kernel), (full, turned)):
        expected = float(adjusted_supervision_complexity(before, targets))
        found = float(adjusted_supervision_complexity(after, targets @ rotation))
        assert found == pytest.approx(expected, rel=1e-6)


@few
@given(n=sizes, seed=seeds, a=st.floats(0, 5), b=st.floats(0.01, 5))
def test_a_ridge_lowers_it(n, seed, a, b):
    kernel, targets = random_kernel(n, seed), targets_of(n)
    for measure in (supervision_complexity, adjusted_supervision_complexity):
        assert float(measure(kernel, targets, a + b)) < float(
            measure(kernel, targets, a)
        )


@few
@given(n=sizes, seed=seeds)
def test_another_point_never_lowers_it(n, seed):
    kernel, targets = random_kernel(n + 1, seed), targets_of(n + 1, 2, seed)
    fewer = float(supervision_complexity(kernel[:n, :n], targets[:n]))
    assert float(supervision_complexity(kernel, targets)) >= fewer * (1 - 1e-9)


def test_one_factorisation_for_many_targets():
    kernel = random_kernel(20)
    factorization = KernelFactorization(kernel, 0.1)
    for seed, k in ((0, 1), (1, 4)):
        targets = targets_of(20, k, seed)
        for measure in (supervision_complexity, adjusted_supervision_complexity):
            assert measure(factorization, targets) == measure(kernel, targets, 0.1)


def test_factorisation_keeps_no_view_of_the_kernel():
    kernel, y = random_kernel(6), np.ones(6)
    given = copy.deepcopy(kernel)
    factorization = KernelFactorization(kernel)
    np.testing.assert_array_equal(kernel, given)
    before = supervision_complexity(factorization, y)
    kernel[:] = 0
    assert supervision_complexity(factorization, y) == before


def test_targets_of_zero_are_no_work():
    result = supervision_complexity(random_kernel(5), np.zeros(5))
    assert (result.value, result.residual) == (0.0, 0.0)


def test_identity():
    y = np.array([3.0, 4.0])
    assert float(supervision_complexity(np.eye(2), y)) == pytest.approx(5)
    adjusted = adjusted_supervision_complexity(np.eye(2), y)
    assert float(adjusted) == pytest.approx(5 / math.sqrt(2))


@pytest.mark.parametrize("dtype", ["float32", "float16", "int64"])
def test_narrow_kernels_and_targets_are_solved_in_float64(dtype):
    rounded = np.round(random_kernel(6)).astype(dtype)
    wide = rounded.astype("float64")
    y = np.arange(6)
    found = supervision_complexity(rounded, y.astype(dtype))
    expected = math.sqrt(y @ np.linalg.solve(wide, y))
    assert float(found) == pytest.approx(expected, rel=1e-12)
    assert found.residual < 1e-13
