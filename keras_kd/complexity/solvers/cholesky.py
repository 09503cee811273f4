"""One factorisation of a kernel for many sets of targets."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg
from scipy.linalg import blas, lapack
from scipy.sparse.linalg import LinearOperator, eigsh

from keras_kd.arguments import check_number
from keras_kd.complexity.arguments import asymmetry, check_kernel, check_targets
from keras_kd.complexity.solvers.conditioning import (
    IllConditioned,
    check_ill_conditioned,
    refuse,
    rounding_of,
)
from keras_kd.complexity.solvers.solution import Solution, relative

# Up to this size all eigenvalues are as cheap as the extreme ones.
_SMALL = 64


class KernelFactorization:
    r"""The Cholesky factor of $K + \lambda I$, in float64, and its condition.

    It is made once and serves any number of target sets: pass it as the kernel to
    `supervision_complexity`, `adjusted_supervision_complexity` and `predict`.

    A kernel is known up to the rounding of its sums: `sqrt(n)` times the epsilon of its
    dtype times its largest eigenvalue. Below that an eigenvalue is noise, and its
    inverse is larger noise. So the smallest eigenvalue of `K + ridge I` must be above
    it.

    Args:
        kernel: `(n, n)`, shared by all outputs; `(n, n, k)`, one for each output; or
            `(n, n, k, k)`, entry `[i, j, o, p]` being that of output `o` of example
            `i` and output `p` of example `j`. Its dtype says how it was summed: do not
            widen it.
        ridge: `lambda >= 0`, in the units of the kernel.
        ill_conditioned: what happens to a kernel whose smallest eigenvalue is under
            its rounding: `"error"`, or `"warn"`, which goes on with the ridge that
            would do.

    Attributes:
        n: number of examples.
        k: number of outputs; `None`: shared by any number.
        row_shape: `(n,)`, `(n, k)` or `(n, k, k)`, what one example has.
        ridge: that is in the factor.
        trace: of the kernel, without ridge, per output: `tr K`, or the mean of it over
            the outputs.
        traces: `(k,)`, of each output's kernel; `(1,)` where they share it.
        largest: eigenvalue of the kernel, without ridge, to a per cent.
        condition_number: of `K + ridge I`, the largest of all outputs.

    Raises:
        ValueError: `kernel` is not symmetric, not finite, of another shape, or too near
            to singular; the message names a `ridge` that would do. `ridge` is negative.

    Example:

    >>> import numpy as np
    >>> from keras_kd.complexity import KernelFactorization, supervision_complexity
    >>> factorization = KernelFactorization(np.diag([1.0, 4.0]))
    >>> [supervision_complexity(factorization, y).value for y in ([2, 0], [0, 2])]
    [2.0, 1.0]
    """

    def __init__(
        self,
        kernel: ArrayLike,
        ridge: float = 0.0,
        *,
        ill_conditioned: IllConditioned = "error",
    ) -> None:
        check_ill_conditioned(ill_conditioned)
        self.ridge = check_number("ridge", ridge, at_least=0)
        kernel = check_kernel(kernel)
        self.n = len(kernel)
        self.k: int | None = None if kernel.ndim == 2 else kernel.shape[2]
        self.row_shape: tuple[int, ...] = kernel.shape[1:]
        self._full = kernel.ndim == 4
        matrices = matrices_of(kernel)
        self.trace = float(
            sum(np.trace(matrix, dtype=np.float64) for matrix in matrices)
        ) / (self.k or 1)
        diagonals = [np.diagonal(m).astype(np.float64) for m in matrices]
        self.traces: NDArray[np.float64] = np.concatenate(
            # Of the full kernel all outputs' diagonals are in one.
            [d.reshape(self.n, -1).sum(axis=0) for d in diagonals]
        )
        if not self.trace > 0:
            raise ValueError(
                "`kernel` must have a positive trace. "
                f"Received: a trace of {self.trace:g}"
            )
        # An asymmetry is rounding that can be seen.
        visible = np.sqrt(len(matrices[0])) * asymmetry(kernel) / 2
        largest = [_largest(matrix) for matrix in matrices]
        roundings = [
            max(rounding_of(kernel.dtype, len(matrix), top), visible)
            for matrix, top in zip(matrices, largest, strict=True)
        ]
        factors = [_Cholesky.of(matrix, self.ridge) for matrix in matrices]
        smallest = [
            _smallest(matrix, factor, self.ridge, rounding)
            for matrix, factor, rounding in zip(
                matrices, factors, roundings, strict=True
            )
        ]
        worst = int(np.argmin(np.subtract(smallest, roundings)))
        if smallest[worst] <= roundings[worst]:
            enough = refuse(
                smallest[worst],
                roundings[worst],
                self.ridge,
                kernel.dtype,
                ill_conditioned,
            )
            smallest = [one + enough - self.ridge for one in smallest]
            self.ridge = enough
            factors = [_Cholesky.of(matrix, enough) for matrix in matrices]
        self._factors = [factor for factor in factors if factor is not None]
        self.largest = max(largest)
        self.condition_number = max(
            (top + self.ridge) / low for top, low in zip(largest, smallest, strict=True)
        )

    def as_columns(self, targets: ArrayLike) -> NDArray[np.float64]:
        """`targets` as float64 `(n, k)`.

        Raises:
            ValueError: shape, dtype or an entry.
        """
        return check_targets(targets, self.n, self.k)

    def row_shape_for(self, targets: NDArray[np.float64]) -> tuple[int, ...]:
        """`row_shape`, whatever the targets."""
        return self.row_shape

    def solve(self, targets: ArrayLike) -> Solution:
        """Coefficients and norm of the function that fits the targets.

        Args:
            targets: `(n,)` or `(n, k)`.

        Raises:
            ValueError: shape, dtype or an entry.
        """
        right = self.as_columns(targets)
        columns = self._split(right)
        halves = [f.half_solve(y) for f, y in zip(self._factors, columns, strict=True)]
        solved = [f.other_half(z) for f, z in zip(self._factors, halves, strict=True)]
        residuals = [
            f.product(u) - y
            for f, u, y in zip(self._factors, solved, columns, strict=True)
        ]
        return Solution(
            self._join(solved),
            float(sum(np.vdot(z, z) for z in halves)),
            self.ridge,
            self.condition_number,
            relative(self._join(residuals), right),
        )

    def predictions(
        self,
        test: NDArray[np.floating],
        targets: NDArray[np.float64],
        solution: Solution,
    ) -> NDArray[np.float64]:
        """The values `(m, k)` at other examples of the function that was solved for.

        Args:
            test: kernel of these with the examples, `(m, *row_shape)`.
            targets: `(n, k)`.
            solution: `solve(targets)`.
        """
        return solution.at(test)

    def leave_one_out(self, targets: ArrayLike) -> NDArray[np.float64]:
        r"""Predictions for each example by the machine that fits all the others.

        With $u = (K + \lambda I)^{-1} y$ it is $y_i - u_i / [(K + \lambda
        I)^{-1}]_{ii}$; for the full kernel all outputs of an example are left out
        together, and the divisor is a `(k, k)` block.

        Args:
            targets: `(n,)` or `(n, k)`.

        Returns:
            Array `(n, k)`.

        Source: Rasmussen & Williams, *Gaussian Processes for Machine Learning*,
        equations 5.10 to 5.12.
        """
        columns = self.as_columns(targets)
        solved = self.solve(columns).coefficients
        inverses = self.inverses()
        if self._full:
            i = np.arange(self.n)
            # The output of the row, then the example and the output of the column.
            blocks = inverses[0].reshape(self.n, -1, *self.row_shape[:2])[i, :, i]
            return columns - np.linalg.solve(blocks, solved[..., None])[..., 0]
        diagonals = np.stack([np.diagonal(inverse) for inverse in inverses], axis=1)
        return columns - solved / diagonals

    def inverses(self) -> list[NDArray[np.float64]]:
        """`(K + ridge I)^-1`, one a matrix."""
        return [factor.inverse() for factor in self._factors]

    def _split(self, targets: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        """Right-hand sides, one a matrix."""
        if self.k is None:
            return [targets]
        if self._full:
            return [targets.reshape(-1, 1)]
        return [targets[:, [c]] for c in range(self.k)]

    def _join(self, columns: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        return np.concatenate(columns, axis=1).reshape(self.n, -1)


class _Cholesky:
    """`L L^T = A`, kept with `A` in one array: `L` below the diagonal, `A` above it."""

    def __init__(
        self, packed: NDArray[np.float64], diagonal: NDArray[np.float64]
    ) -> None:
        self._packed = packed
        # What the diagonal of L, which took the place of A's, is short of.
        self._missing = (diagonal - np.diagonal(packed))[:, None]

    @staticmethod
    def of(matrix: NDArray[Any], ridge: float) -> "_Cholesky | None":
        """Of `matrix + ridge I`; `None` where that is not positive definite."""
        a = np.array(matrix, np.float64, order="F")
        a[np.diag_indices_from(a)] += ridge
        diagonal = np.diagonal(a).copy()
        packed, info = lapack.dpotrf(a, lower=1, clean=0, overwrite_a=1)
        return None if info else _Cholesky(packed, diagonal)

    def product(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """`A x`."""
        product = blas.dsymm(1.0, self._packed, x, lower=0) + self._missing * x
        return np.asarray(product)

    def half_solve(self, y: NDArray[np.float64]) -> NDArray[np.float64]:
        """`L^-1 y`."""
        return np.asarray(
            linalg.solve_triangular(self._packed, y, lower=True, check_finite=False)
        )

    def other_half(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        """`L^-T z`."""
        return np.asarray(
            linalg.solve_triangular(
                self._packed, z, trans=1, lower=True, check_finite=False
            )
        )

    def smallest(self) -> float:
        """The smallest eigenvalue of `A`, to a per cent, by Lanczos on the inverse."""
        n = len(self._packed)
        if n <= _SMALL:
            return 1 / float(linalg.eigvalsh(self.inverse())[-1])

        def solve(v: NDArray[np.float64]) -> Any:
            return linalg.cho_solve((self._packed, True), v, check_finite=False)

        inverse = LinearOperator((n, n), solve, dtype=np.float64)
        return 1 / _lanczos(inverse)

    def inverse(self) -> NDArray[np.float64]:
        lower, _ = lapack.dpotri(self._packed, lower=1)
        return np.asarray(np.tril(lower) + np.tril(lower, -1).T)


def matrices_of(kernel: NDArray[Any]) -> list[NDArray[Any]]:
    """The symmetric matrices that a kernel consists of."""
    if kernel.ndim == 2:
        return [kernel]
    if kernel.ndim == 3:
        return [kernel[..., c] for c in range(kernel.shape[2])]
    size = kernel.shape[0] * kernel.shape[2]
    return [kernel.transpose(0, 2, 1, 3).reshape(size, size)]


def _largest(matrix: NDArray[Any]) -> float:
    """The largest eigenvalue, to a per cent."""
    if len(matrix) <= _SMALL:
        return float(linalg.eigvalsh(matrix.astype(np.float64))[-1])
    wide = np.promote_types(matrix.dtype, np.float32)
    return _lanczos(np.ascontiguousarray(matrix, wide))


def _smallest(
    matrix: NDArray[Any], factor: _Cholesky | None, ridge: float, rounding: float
) -> float:
    """The smallest eigenvalue of `matrix + ridge I`, also where it has no factor."""
    if factor is not None:
        return factor.smallest()
    if len(matrix) <= _SMALL:
        return float(linalg.eigvalsh(matrix.astype(np.float64))[0]) + ridge
    shift = 2 * rounding
    while (factor := _Cholesky.of(matrix, ridge + shift)) is None:
        shift *= 8
    # Lanczos finds it from above, and the ridge that is named has to do.
    return 0.98 * factor.smallest() - shift


def _lanczos(operator: Any) -> float:
    start = np.random.default_rng(0).standard_normal(operator.shape[0])
    values = eigsh(
        operator,
        k=1,
        which="LA",
        ncv=8,
        v0=start.astype(operator.dtype),
        tol=1e-2,
        return_eigenvectors=False,
    )
    return float(values[0])
