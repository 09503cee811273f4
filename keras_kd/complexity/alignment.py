"""How well a kernel fits targets, or another kernel."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from keras_kd.complexity.arguments import check_kernel, check_targets


def kernel_alignment(
    kernel: ArrayLike, other: ArrayLike, *, center: bool = True
) -> float:
    r"""Cosine of two kernels, $\langle K, K' \rangle / (\|K\| \|K'\|)$ (Frobenius).

    Targets count as their kernel: `Y Y^T` where the outputs share `K`, `y_c y_c^T` for
    each output of a kernel an output, `vec(Y) vec(Y)^T` for the full one. An aligned
    kernel has the targets along its large eigenvalues.

    Args:
        kernel: `(n, n)`, `(n, n, k)` or `(n, n, k, k)`.
        other: a kernel of the same shape, or targets, `(n,)` or `(n, k)`. An `(n, n)`
            array is a kernel.
        center: whether to take from each kernel, output by output, the means of its
            rows and columns. Without it what examples have in common, which tells none
            from another, weighs most.

    Returns:
        Python float: 0 to 1 for positive semi-definite kernels.

    Raises:
        ValueError: shapes disagree, a kernel is not symmetric, not all is finite, or
            one of the two is 0 (everywhere, or when centred).

    Source: Cristianini et al., "On Kernel-Target Alignment", NeurIPS 2001; centred:
    Cortes et al., "Algorithms for Learning Kernels Based on Centered Alignment", JMLR
    2012, definition 4.

    Example:

    >>> import numpy as np
    >>> from keras_kd.complexity import kernel_alignment
    >>> y = np.array([1.0, -1.0, 1.0, -1.0])
    >>> round(kernel_alignment(np.outer(y, y) + 5, y), 6)
    1.0
    """
    first = check_kernel(kernel).astype(np.float64)
    if center:
        first = _centred(first)
    if np.shape(other) == (len(first),) * 2 or np.ndim(other) > 2:
        second = check_kernel(other, "other").astype(np.float64)
        if second.shape != first.shape:
            raise ValueError(
                f"`other` must be a kernel of the shape of `kernel`, {first.shape}, "
                f"or targets. Received: shape {second.shape}"
            )
        if center:
            second = _centred(second)
        product = float(np.vdot(first, second))
        size = float(np.linalg.norm(second))
    else:
        k = None if first.ndim == 2 else first.shape[2]
        y = check_targets(other, len(first), k, "other")
        if center:
            y = y - y.mean(axis=0)
        product, size = _with_targets(first, y)
    length = float(np.linalg.norm(first))
    for argument, norm in (("kernel", length), ("other", size)):
        if norm == 0:
            raise ValueError(
                f"`{argument}` must not be 0 everywhere"
                + (", nor constant, with center=True." if center else ".")
            )
    return product / (length * size)


def _with_targets(
    kernel: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[float, float]:
    """The inner product with the kernel of targets, and the norm of that kernel."""
    if kernel.ndim == 2:
        return float(np.vdot(y, kernel @ y)), float(np.linalg.norm(y.T @ y))
    if kernel.ndim == 3:
        product = np.einsum("ic,ijc,jc->", y, kernel, y, optimize=True)
        return float(product), math.sqrt(np.sum(np.square(np.sum(y * y, axis=0))))
    product = np.einsum("io,ijop,jp->", y, kernel, y, optimize=True)
    return float(product), float(np.vdot(y, y))


def _centred(kernel: NDArray[np.float64]) -> NDArray[np.float64]:
    rows = kernel.mean(axis=0, keepdims=True)
    columns = kernel.mean(axis=1, keepdims=True)
    centred: NDArray[np.float64] = (
        kernel - rows - columns + rows.mean(axis=1, keepdims=True)
    )
    return centred
