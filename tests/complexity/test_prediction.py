"""Predictions, and those of examples left out, against fits made anew."""

import numpy as np
import pytest
from complexity_kernels import flat, forms, random_full_kernel, random_kernel
from sklearn.kernel_ridge import KernelRidge
from sklearn.model_selection import LeaveOneOut, cross_val_predict

from keras_kd.complexity import KernelFactorization, predict

pytestmark = pytest.mark.once

N, M, K = 12, 5, 3


@pytest.fixture
def targets():
    return np.random.default_rng(1).standard_normal((N, K))


def split(kernel):
    return kernel[:N, :N], kernel[N:, :N]


def test_kernel_ridge_regression(targets):
    train, test = split(random_kernel(N + M))
    oracle = KernelRidge(alpha=0.7, kernel="precomputed")
    result = predict(train, test, targets, 0.7)
    expected = oracle.fit(train, targets).predict(test)
    np.testing.assert_allclose(result.predictions, expected, rtol=1e-9)
    left = cross_val_predict(oracle, train, targets, cv=LeaveOneOut())
    np.testing.assert_allclose(result.leave_one_out, left, rtol=1e-8)
    error = np.mean(np.sum((left - targets) ** 2, axis=1))
    assert result.leave_one_out_error == pytest.approx(error)
    assert result.accuracy is None


@pytest.mark.parametrize("ridge", [0.0, 0.5])
@pytest.mark.parametrize("form", ["per_output", "full"])
def test_leave_one_out_by_brute_force(form, ridge, targets):
    """All outputs of an example are left out together."""
    full = random_full_kernel(N + M, K)
    if form == "per_output":
        kernel = np.einsum("ijoo->ijo", full)
        full = np.einsum("ijo,op->ijop", kernel, np.eye(K))
    else:
        kernel = full
    train, test = split(kernel)
    result = predict(train, test, targets, ridge)

    matrix = flat(full).reshape(N + M, K, N + M, K)
    for rows, others, found in [
        (range(N, N + M), list(range(N)), result.predictions),
        *(
            ([i], [j for j in range(N) if j != i], result.leave_one_out[[i]])
            for i in range(N)
        ),
    ]:
        size = len(others) * K
        system = matrix[others][:, :, others].reshape(size, size) + ridge * np.eye(size)
        fitted = np.linalg.solve(system, targets[others].reshape(-1))
        cross = matrix[list(rows)][:, :, others].reshape(-1, size)
        np.testing.assert_allclose(found.reshape(-1), cross @ fitted, rtol=1e-7)


def test_the_forms_agree(targets):
    results = [
        predict(*split(form), targets, 0.2)
        for form in forms(random_kernel(N + M), K).values()
    ]
    for result in results[1:]:
        for name in ("predictions", "leave_one_out"):
            found, expected = getattr(result, name), getattr(results[0], name)
            np.testing.assert_allclose(found, expected, rtol=1e-8)


def test_interpolation_at_ridge_0(targets):
    kernel = random_kernel(N)
    found = predict(kernel, kernel, targets).predictions
    np.testing.assert_allclose(found, targets, atol=1e-9)


def test_accuracy(targets):
    train, test = split(random_kernel(N + M))
    classes = predict(train, test, targets).predictions.argmax(axis=1)
    labels = classes.copy()
    labels[0] = (labels[0] + 1) % K
    assert predict(train, test, targets, labels=labels).accuracy == 0.8
    signs = predict(train, test, targets[:, 0]).predictions[:, 0] > 0
    labels = signs.astype(int)
    labels[:2] = 1 - labels[:2]
    assert predict(train, test, targets[:, 0], labels=labels).accuracy == 0.6


def test_a_factorisation_serves_again(targets):
    train, test = split(random_kernel(N + M))
    expected = predict(train, test, targets, 0.3)
    found = predict(KernelFactorization(train, 0.3), test, targets)
    np.testing.assert_array_equal(found.predictions, expected.predictions)
    np.testing.assert_array_equal(found.leave_one_out, expected.leave_one_out)
    assert found.ridge == 0.3
    assert found.residual < 1e-12
