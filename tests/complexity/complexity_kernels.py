"""Random kernels, and the same kernel in all its forms."""

import numpy as np


def random_kernel(n, seed=0, rank=None):
    """A well-conditioned kernel, or one of some rank."""
    rows = np.random.default_rng(seed).standard_normal((n, rank or 2 * n))
    return rows @ rows.T


def random_full_kernel(n, k, seed=0):
    """`(n, n, k, k)`: outputs that have to do with one another."""
    return random_kernel(n * k, seed).reshape(n, k, n, k).transpose(0, 2, 1, 3)


def forms(kernel, k):
    """A kernel that `k` outputs share: shared, per output and full."""
    return {
        "shared": kernel,
        "per_output": np.repeat(kernel[..., None], k, axis=2),
        "full": np.einsum("ij,op->ijop", kernel, np.eye(k, dtype=kernel.dtype)),
    }


def flat(full):
    """`(n, n, k, k)` as a matrix, row `i k + o`."""
    n, _, k, _ = full.shape
    return np.array(
        [
            [full[i, j, o, p] for j in range(n) for p in range(k)]
            for i in range(n)
            for o in range(k)
        ]
    )


def gaussian(n, dtype="float64", width=0.3):
    """A kernel whose eigenvalues fall below any rounding."""
    x = np.linspace(0, 1, n)
    return np.exp(-(np.subtract.outer(x, x) ** 2) / (2 * width**2)).astype(dtype)
