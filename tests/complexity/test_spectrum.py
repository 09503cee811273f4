"""Eigenvalues and energies make the targets, and their complexity, up."""

import math

import numpy as np
import pytest
from complexity_kernels import flat, forms, random_full_kernel, random_kernel

from keras_kd.complexity import spectrum, supervision_complexity

pytestmark = pytest.mark.once

N, K = 9, 3


@pytest.fixture
def targets():
    return np.random.default_rng(1).standard_normal((N, K))


def test_energy_by_an_explicit_basis(targets):
    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((N, N)))[0]
    values = np.arange(N, 0, -1.0)
    kernel = basis * values @ basis.T
    result = spectrum((kernel + kernel.T) / 2, targets)
    np.testing.assert_allclose(result.eigenvalues, values, rtol=1e-12)
    np.testing.assert_allclose(result.energy, (basis.T @ targets) ** 2, rtol=1e-8)


def test_full_kernel(targets):
    full = random_full_kernel(N, K)
    result = spectrum(full, targets)
    values, vectors = np.linalg.eigh(flat(full))
    np.testing.assert_allclose(result.eigenvalues, values[::-1], rtol=1e-9)
    energy = (vectors.T @ targets.reshape(-1)) ** 2
    np.testing.assert_allclose(result.energy, energy[::-1], rtol=1e-6)


@pytest.mark.parametrize("form", ["shared", "per_output", "full"])
def test_energy_sums_to_the_targets_and_their_complexity(form, targets):
    kernel = forms(random_kernel(N), K)[form]
    result = spectrum(kernel, targets)
    assert result.energy.sum() == pytest.approx(np.sum(targets**2))
    assert (np.diff(result.eigenvalues, axis=0) <= 1e-12).all()
    values = result.eigenvalues + 0.1
    if result.energy.ndim > values.ndim:
        values = values[:, None]
    expected = supervision_complexity(kernel, targets, 0.1)
    assert math.sqrt(np.sum(result.energy / values)) == pytest.approx(float(expected))


def test_shapes(targets):
    shared = random_kernel(N)
    sizes = {
        "shared": ((N,), (N, K)),
        "per_output": ((N, K),) * 2,
        "full": ((27,),) * 2,
    }
    for form, expected in sizes.items():
        result = spectrum(forms(shared, K)[form], targets)
        assert (result.eigenvalues.shape, result.energy.shape) == expected
    assert spectrum(shared, targets[:, 0]).energy.shape == (N, 1)
