"""A kernel that is singular within its rounding is refused, with a ridge that helps."""

import re
import warnings

import numpy as np
import pytest
from complexity_kernels import forms, gaussian, random_kernel
from scipy.sparse.linalg import aslinearoperator

from keras_kd.complexity import (
    FeatureFactorization,
    KernelFactorization,
    supervision_complexity,
)

pytestmark = pytest.mark.once

ENOUGH = r"ridge=(\S+) would do"


def gradients(n=150):
    """In float32; their kernel's largest eigenvalue dwarfs the rest, as an NTK's."""
    rows = np.random.default_rng(0).standard_normal((n, 3 * n)).astype("float32")
    return rows * np.float32(1e-3) + np.float32(1)


def named_ridge(error) -> float:
    return float(re.search(ENOUGH, str(error.value)).group(1))


@pytest.mark.parametrize("n", [20, 150])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_named_ridge_would_do(n, dtype):
    kernel, y = gaussian(n, dtype), np.linspace(0, 1, n)
    with pytest.raises(ValueError, match=ENOUGH) as error:
        supervision_complexity(kernel, y)
    ridge = named_ridge(error)
    result = supervision_complexity(kernel, y, ridge)
    assert result.residual < 1e-6
    # Not much less would.
    with pytest.raises(ValueError, match="would do"):
        supervision_complexity(kernel, y, ridge / 4)


def test_a_float32_sum_is_refused_where_float64_will_do():
    rows = gradients()
    y = np.random.default_rng(1).standard_normal(len(rows))
    kernel = rows @ rows.T
    with pytest.raises(ValueError, match="accumulate='float64'") as error:
        supervision_complexity(kernel, y)
    supervision_complexity(kernel, y, named_ridge(error))
    # Widened after the sum it is no better.
    with pytest.raises(ValueError, match="would do") as error:
        supervision_complexity(kernel.astype("float64"), y)
    supervision_complexity(kernel.astype("float64"), y, named_ridge(error))

    rows = rows.astype("float64")
    exact = np.linalg.norm(np.linalg.lstsq(rows, y, rcond=None)[0])
    found = supervision_complexity(rows @ rows.T, y)
    assert float(found) == pytest.approx(exact, rel=1e-5)


def test_rounding_grows_with_the_size():
    """Eigenvalues 1 and `1e-6`: between the roundings of 4 and of 400 examples."""
    for n, accepted in ((4, True), (400, False)):
        kernel = np.diag(np.full(n, 1e-6, "float32"))
        kernel[0, 0] = 1
        if accepted:
            supervision_complexity(kernel, np.ones(n))
        else:
            with pytest.raises(ValueError, match="would do"):
                supervision_complexity(kernel, np.ones(n))


def test_a_visible_asymmetry_counts_as_rounding():
    kernel = np.diag([1.0, 1e-8, 1e-8])
    assert float(supervision_complexity(kernel, [0, 1, 0])) == pytest.approx(1e4)
    kernel[0, 1] = 1e-7
    with pytest.raises(ValueError, match="would do"):
        supervision_complexity(kernel, [0, 1, 0])


@pytest.mark.parametrize("n", [3, 100])
def test_a_negative_eigenvalue_is_lifted(n):
    kernel = np.diag(np.linspace(-2, 3, n))
    with pytest.raises(ValueError, match="Received: -2") as error:
        supervision_complexity(kernel, np.ones(n))
    ridge = named_ridge(error)
    assert 2 < ridge < 2.5
    supervision_complexity(kernel, np.ones(n), ridge)


@pytest.mark.parametrize("form", ["shared", "per_output", "full"])
def test_a_warning_on_request_and_the_named_ridge(form):
    kernel = forms(gaussian(30, "float32"), 2)[form]
    targets = np.random.default_rng(0).standard_normal((30, 2))
    with pytest.raises(ValueError, match="would do") as error:
        KernelFactorization(kernel)
    with pytest.warns(UserWarning, match="Going on with"):
        warned = supervision_complexity(kernel, targets, ill_conditioned="warn")
    ridge = named_ridge(error)
    expected = supervision_complexity(kernel, targets, ridge)
    assert (warned.value, warned.ridge) == (expected.value, ridge)
    condition = expected.condition_number
    assert warned.condition_number == pytest.approx(condition, rel=0.05)


def test_one_bad_output_is_enough():
    good, bad = random_kernel(20), gaussian(20)
    with pytest.raises(ValueError, match="would do") as error:
        KernelFactorization(np.stack([good, bad], axis=-1))
    with pytest.raises(ValueError, match="would do") as alone:
        KernelFactorization(bad)
    assert named_ridge(error) == named_ridge(alone)


def test_no_warning_without_cause():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        supervision_complexity(gaussian(100, "float32"), np.ones(100), 0.1)


def test_features_name_a_ridge_too():
    features = np.random.default_rng(0).standard_normal((50, 4))
    with pytest.raises(ValueError, match="would do") as error:
        FeatureFactorization(features, 1e-15)
    ridge = named_ridge(error)
    assert FeatureFactorization(features, ridge).ridge == ridge
    with pytest.warns(UserWarning, match="Going on with"):
        assert FeatureFactorization(features, 1e-15, ill_conditioned="warn").ridge


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_operators_name_a_ridge_too(dtype):
    kernel = gaussian(60, dtype, width=1.0)
    y = np.random.default_rng(0).standard_normal(60)
    with pytest.raises(ValueError, match="would do") as error:
        supervision_complexity(aslinearoperator(kernel), y)
    ridge = named_ridge(error)
    result = supervision_complexity(aslinearoperator(kernel), y, ridge, tolerance=1e-3)
    assert result.ridge == ridge
    with pytest.warns(UserWarning, match="Going on with"):
        supervision_complexity(
            aslinearoperator(kernel), y, ill_conditioned="warn", tolerance=1e-3
        )
