"""Preconditioned conjugate gradients, for kernels of which there is no matrix."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import eigh_tridiagonal
from scipy.sparse.linalg import LinearOperator

from keras_kd.arguments import check_number
from keras_kd.complexity.arguments import check_targets
from keras_kd.complexity.solvers.conditioning import (
    IllConditioned,
    check_ill_conditioned,
    refuse,
    rounding_of,
)
from keras_kd.complexity.solvers.random_features import (
    FeatureFactorization,
    check_features,
)
from keras_kd.complexity.solvers.solution import Solution, relative
from keras_kd.ntk.operator import NTKOperator

# A product with a matrix: `(n, m)` to `(n, m)`.
Product: TypeAlias = Callable[[NDArray[np.float64]], NDArray[np.float64]]

_MOST_ITERATIONS = 10_000
# Of the features' trace: what a preconditioner of few features is lifted by.
_LEAST_LEVEL = 1e-10


class ConjugateGradients:
    r"""Solves with $K + \lambda I$ by products with `K` alone.

    The error of $Y^\top (K + \lambda I)^{-1} Y$ is of second order in the residual: at
    most the square of the relative residual times the condition number.

    Args:
        operator: symmetric `scipy.sparse.linalg.LinearOperator`.
        ridge: `lambda >= 0`, in the units of the kernel.
        ill_conditioned: `"error"` or `"warn"`.
        tolerance: relative residual, of each column, at which to stop.
        preconditioner: `(n, dim)` features of the trace NTK, or `None`.

    Attributes:
        size: rows of the operator: `n`, or `n k` for the full kernel.
        ridge: that was asked for; a `Solution` says which one it took.
        condition_number: `None`, for it is found by solving.

    Raises:
        ValueError: an argument is out of its range.
    """

    condition_number: float | None = None

    def __init__(
        self,
        operator: LinearOperator,
        ridge: float = 0.0,
        *,
        ill_conditioned: IllConditioned = "error",
        tolerance: float = 1e-6,
        preconditioner: ArrayLike | None = None,
    ) -> None:
        check_ill_conditioned(ill_conditioned)
        self.ridge = check_number("ridge", ridge, at_least=0)
        self._tolerance = check_number("tolerance", tolerance, above=0, below=1)
        if operator.shape[0] != operator.shape[1]:
            raise ValueError(
                f"`kernel` must be square. Received: shape {operator.shape}"
            )
        self._operator = operator
        self.size = int(operator.shape[0])
        self._ill_conditioned = ill_conditioned
        self._features = None
        if preconditioner is not None:
            self._features = check_features("preconditioner", preconditioner)
            if self.size % len(self._features):
                raise ValueError(
                    "`preconditioner` must have a row for each example of `kernel`. "
                    f"Received: shape {self._features.shape} for an operator of shape "
                    f"{operator.shape}"
                )

    @property
    def n(self) -> int:
        """Number of examples; of no `NTKOperator`, of rows."""
        operator = self._operator
        return operator.n if isinstance(operator, NTKOperator) else self.size

    @property
    def k(self) -> int | None:
        """Number of outputs of a full kernel; `None`: shared, or unknown."""
        return self.size // self.n if self.size > self.n else None

    @property
    def trace(self) -> float:
        """Of the kernel, without ridge, per output.

        Raises:
            TypeError: the operator has no trace that can be had without its matrix.
        """
        if not isinstance(self._operator, NTKOperator):
            raise TypeError(
                "`kernel` must be an array or an `NTKOperator`: no other operator has "
                f"a trace. Received: {type(self._operator).__name__}"
            )
        return self._operator.trace() * self.n / self.size

    @property
    def traces(self) -> NDArray[np.float64]:
        """`(1,)`, of a kernel that the outputs share.

        Raises:
            TypeError: as `trace`, and of the full kernel.
        """
        if self.k is not None:
            raise TypeError(
                "`kernel` must be shared by the outputs where each output's trace is "
                f"asked for. Received: the full kernel of {self.k} outputs"
            )
        return np.array([self.trace])

    def as_columns(self, targets: ArrayLike) -> NDArray[np.float64]:
        """`targets` as float64 `(n, k)`; with a full kernel `n k` is its size.

        Raises:
            ValueError: shape, dtype or an entry.
        """
        shape = np.shape(targets)
        full = len(shape) == 2 and shape[0] * shape[1] == self.size
        return check_targets(targets, shape[0] if full else self.size)

    def row_shape_for(self, targets: NDArray[np.float64]) -> tuple[int, ...]:
        """`(n,)`, or `(n, k, k)` for the full kernel."""
        n, k = targets.shape
        return (n,) if n == self.size else (n, k, k)

    def solve(self, targets: ArrayLike) -> Solution:
        """Coefficients and norm of the function that fits the targets.

        Args:
            targets: `(n,)` or `(n, k)`; with `k` outputs and a full kernel, `(n, k)`.

        Raises:
            ValueError: shape, dtype or an entry, or the kernel is too near to singular
                for these targets: the message names a ridge that would do.
            RuntimeError: no convergence.
        """
        columns = self.as_columns(targets)
        right = columns.reshape(self.size, -1)
        ridge = self.ridge
        while True:
            precondition, largest = self._preconditioner(ridge)
            run = conjugate_gradients(
                self._shifted(ridge),
                right,
                self._tolerance,
                precondition,
            )
            if largest is None:
                largest = run.largest - ridge
            rounding = rounding_of(self._operator.dtype, self.size, largest)
            smallest = run.curvature
            if precondition is None:
                smallest = min(smallest, run.smallest)
            if smallest > rounding:
                break
            ridge = refuse(
                smallest, rounding, ridge, self._operator.dtype, self._ill_conditioned
            )
        if not run.converged:
            raise RuntimeError(
                f"Conjugate gradients did not reach `tolerance`={self._tolerance:g} in "
                f"{run.iterations} iterations. Pass features from `ntk_features` as "
                "`preconditioner`, or raise `ridge`."
            )
        return Solution(
            run.solution.reshape(columns.shape),
            float(np.vdot(right, run.solution)),
            ridge,
            run.largest / run.smallest,
            run.residual,
            run.iterations,
        )

    def predictions(
        self,
        test: NDArray[np.floating],
        targets: NDArray[np.float64],
        solution: Solution,
    ) -> NDArray[np.float64]:
        """The values `(m, k)` at other examples of the function that was solved for.

        Args:
            test: kernel of these with the examples, `(m, n)` or `(m, n, k, k)`.
            targets: `(n, k)`.
            solution: `solve(targets)`.
        """
        return solution.at(test)

    def leave_one_out(self, targets: ArrayLike) -> None:
        """`None`: there is no factorisation that they could come from."""

    def _shifted(self, ridge: float) -> Product:
        """Products with `K + ridge I`."""

        def product(v: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.asarray(self._operator.matmat(v) + ridge * v)

        return product

    def _preconditioner(self, ridge: float) -> tuple[Product | None, float | None]:
        """`M^-1` for `M` close to the kernel, and the kernel's largest eigenvalue."""
        if self._features is None:
            return None, None
        n = len(self._features)
        outputs = self.size // n
        # The trace NTK is the sum of the kernels of the outputs.
        phi = self._features / np.sqrt(outputs)
        # What the features leave out: the kernel's mean eigenvalue beyond their span,
        # by a random direction in it.
        level = _LEAST_LEVEL * float(np.vdot(phi, phi))
        tail = 0.0
        if n > phi.shape[1]:
            probe = np.random.default_rng(0).standard_normal((n, 1))
            v = np.zeros((n, outputs))
            v[:, :1] = level * FeatureFactorization(phi, level).coefficients(probe)
            flat = v.reshape(-1)
            tail = float(flat @ self._operator.matvec(flat) / (flat @ flat))
        close = FeatureFactorization(phi, max(level, ridge + tail))

        def precondition(residual: NDArray[np.float64]) -> NDArray[np.float64]:
            r = residual.reshape(n, -1)
            return close.coefficients(r).reshape(residual.shape)

        return precondition, close.largest


@dataclasses.dataclass(frozen=True)
class Run:
    """What conjugate gradients found.

    Attributes:
        solution: `(n, m)`.
        iterations: the most that a column took.
        converged: whether each column reached the tolerance.
        residual: the relative residual, computed anew.
        smallest: Ritz value, of the preconditioned system.
        largest: likewise.
        curvature: the smallest of `x . A x / x . x` over all directions taken and the
            solution: the smallest eigenvalue of `A` is not above it.
    """

    solution: NDArray[np.float64]
    iterations: int
    converged: bool
    residual: float
    smallest: float
    largest: float
    curvature: float


def conjugate_gradients(
    product: Product,
    right: NDArray[np.float64],
    tolerance: float,
    precondition: Product | None = None,
) -> Run:
    """Solves `A x = right`, all columns side by side.

    Args:
        product: `A v` for `(n, m)`.
        right: `(n, m)`.
        tolerance: relative residual of a column at which it is done.
        precondition: about `A^-1 v`; `None`: `v`.

    Returns:
        `Run`; not converged after 10,000 iterations, or `10 n` if that is less, or at a
        direction of no positive curvature.

    Source: Golub & Van Loan, *Matrix Computations*, 4th edition, algorithm 11.5.1; the
    Ritz values from its coefficients, section 11.3.
    """
    precondition = precondition or np.copy
    n, columns = right.shape
    x = np.zeros_like(right)
    r = right.copy()
    targets = np.linalg.norm(right, axis=0) * tolerance
    active = np.flatnonzero(np.linalg.norm(r, axis=0) > targets)
    z = precondition(r[:, active]) if active.size else r[:, active]
    p = z.copy()
    rz = np.sum(r[:, active] * z, axis=0)
    steps: list[list[float]] = [[] for _ in range(columns)]
    turns: list[list[float]] = [[] for _ in range(columns)]
    curvature = np.inf
    iterations = 0
    limit = min(_MOST_ITERATIONS, 10 * n)
    while active.size and iterations < limit:
        iterations += 1
        ap = product(p)
        pap = np.sum(p * ap, axis=0)
        curvature = min(curvature, float(np.min(pap / np.sum(p * p, axis=0))))
        if np.min(pap) <= 0:
            break
        alpha = rz / pap
        x[:, active] += alpha * p
        r[:, active] -= alpha * ap
        for c, value in zip(active, alpha, strict=True):
            steps[c].append(float(value))
        going = np.linalg.norm(r[:, active], axis=0) > targets[active]
        active, p, rz = active[going], p[:, going], rz[going]
        if not active.size:
            break
        z = precondition(r[:, active])
        new = np.sum(r[:, active] * z, axis=0)
        beta = new / rz
        for c, value in zip(active, beta, strict=True):
            turns[c].append(float(value))
        p = z + beta * p
        rz = new
    smallest, largest = _ritz(steps, turns)
    ax = product(x)
    lengths = np.sum(x * x, axis=0)
    moved = lengths > 0
    if moved.any():
        along = np.sum(x * ax, axis=0)[moved] / lengths[moved]
        curvature = min(curvature, float(along.min()))
    return Run(
        x,
        iterations,
        not active.size,
        relative(right - ax, right),
        smallest,
        largest,
        curvature,
    )


def _ritz(
    steps: Sequence[Sequence[float]], turns: Sequence[Sequence[float]]
) -> tuple[float, float]:
    """The extreme eigenvalues of the Lanczos matrices of all columns."""
    values = []
    for alpha, beta in zip(steps, turns, strict=True):
        if not alpha:
            continue
        a = np.array(alpha)
        b = np.array(beta[: len(a) - 1])
        diagonal = 1 / a
        diagonal[1:] += b / a[:-1]
        values.append(eigh_tridiagonal(diagonal, np.sqrt(b) / a[:-1], True))
    if not values:
        return 1.0, 1.0
    joined = np.concatenate(values)
    return float(joined.min()), float(joined.max())
