"""Products alone give what a factorisation gives."""

import keras
import numpy as np
import pytest
from complexity_kernels import flat, forms, random_full_kernel, random_kernel
from scipy.sparse.linalg import aslinearoperator, cg

from keras_kd.complexity import (
    adjusted_supervision_complexity,
    predict,
    supervision_complexity,
)
from keras_kd.complexity.solvers.conjugate_gradients import conjugate_gradients
from keras_kd.ntk import NTKOperator, empirical_ntk, ntk_features

N, K = 16, 3


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((5,)),
            keras.layers.Dense(24, activation="tanh"),
            keras.layers.Dense(K),
        ]
    )


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).standard_normal((N, 5)).astype("float32")


@pytest.fixture(scope="module")
def targets():
    return np.random.default_rng(1).standard_normal((N, K))


@pytest.mark.parametrize("outputs", ["trace", "full"])
@pytest.mark.parametrize("ridge", [0.0, 1.0])
@pytest.mark.parametrize("preconditioned", [False, True])
def test_ntk_operator(model, x, targets, outputs, ridge, preconditioned):
    operator = NTKOperator(model, x, outputs=outputs)
    kernel = empirical_ntk(model, x, outputs=outputs, accumulate="float64")
    features = ntk_features(model, x, 8) if preconditioned else None
    for measure in (supervision_complexity, adjusted_supervision_complexity):
        direct = measure(kernel, targets, ridge)
        found = measure(
            operator, targets, ridge, tolerance=1e-8, preconditioner=features
        )
        assert float(found) == pytest.approx(float(direct), rel=1e-6)
        assert 0 < found.iterations <= 10 * N * K
        assert found.residual < 1e-7
        assert found.ridge == ridge
        if not preconditioned:
            # The extreme eigenvalues that the targets see.
            assert found.condition_number <= direct.condition_number * 1.05


@pytest.mark.parametrize("form", ["shared", "full"])
def test_forms(form):
    targets = np.random.default_rng(1).standard_normal((N, K))
    kernel = random_kernel(N)
    matrix = kernel if form == "shared" else flat(forms(kernel, K)["full"])
    expected = supervision_complexity(kernel, targets, 0.1)
    found = supervision_complexity(aslinearoperator(matrix), targets, 0.1)
    assert float(found) == pytest.approx(float(expected), rel=1e-8)
    assert found.condition_number == pytest.approx(expected.condition_number, rel=0.03)


def test_full_kernel_of_outputs_that_correlate():
    full = random_full_kernel(8, 3)
    targets = np.random.default_rng(1).standard_normal((8, 3))
    expected = supervision_complexity(full, targets)
    operator = aslinearoperator(flat(full))
    found = supervision_complexity(operator, targets)
    assert float(found) == pytest.approx(float(expected), rel=1e-6)


def test_scipy_takes_as_many_iterations():
    kernel, y = random_kernel(40), np.ones(40)
    run = conjugate_gradients(lambda v: kernel @ v, y[:, None], 1e-6)
    seen = []
    expected, _ = cg(kernel, y, rtol=1e-6, callback=seen.append)
    assert abs(run.iterations - len(seen)) <= 1
    np.testing.assert_allclose(run.solution[:, 0], expected, rtol=1e-4)
    values = np.linalg.eigvalsh(kernel)
    assert run.smallest == pytest.approx(values[0], rel=0.02)
    assert run.largest == pytest.approx(values[-1], rel=1e-6)


def test_columns_that_are_done_stop():
    kernel = np.diag([1.0, 2.0, 3.0, 4.0])
    widths = []

    def product(v):
        widths.append(v.shape[1])
        return kernel @ v

    targets = np.array([[1.0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]]).T
    run = conjugate_gradients(product, targets, 1e-10)
    # The last product is that of the residual.
    assert widths == [2, 1, 1, 1, 3]
    np.testing.assert_allclose(kernel @ run.solution, targets, atol=1e-12)


def test_features_save_iterations():
    """Eigenvalues from 1e-3 to 1e3, of which the features know the large ones."""
    n = 120
    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((n, n)))[0]
    values = np.concatenate([np.geomspace(1e3, 1, 20), np.full(n - 20, 1e-3)])
    features = basis * np.sqrt(values)
    kernel = features @ features.T
    y = np.random.default_rng(1).standard_normal(n)
    plain = supervision_complexity(aslinearoperator(kernel), y)
    known = features[:, :20]
    fast = supervision_complexity(aslinearoperator(kernel), y, preconditioner=known)
    assert fast.iterations <= 3 < 12 < plain.iterations
    exact = supervision_complexity(kernel, y)
    assert float(fast) == pytest.approx(float(exact), rel=1e-8)


def test_prediction_by_products(model, x, targets):
    new = np.random.default_rng(2).standard_normal((4, 5)).astype("float32")
    for outputs in ("trace", "full"):
        options = {"outputs": outputs, "accumulate": "float64"}
        test = empirical_ntk(model, new, x, **options)
        direct = predict(empirical_ntk(model, x, **options), test, targets, 0.1)
        operator = NTKOperator(model, x, outputs=outputs)
        found = predict(operator, test, targets, 0.1, tolerance=1e-9)
        np.testing.assert_allclose(found.predictions, direct.predictions, atol=1e-5)
        assert found.leave_one_out is None


def test_targets_of_zero_take_no_iterations():
    result = supervision_complexity(aslinearoperator(np.eye(4)), np.zeros(4))
    assert (float(result), result.iterations) == (0.0, 0)


def test_an_operator_without_a_trace():
    with pytest.raises(TypeError, match="no other operator has a trace"):
        adjusted_supervision_complexity(aslinearoperator(np.eye(4)), np.ones(4))
