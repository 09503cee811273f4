"""What every solver answers, and which one a kernel takes."""

from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.linalg import LinearOperator

from keras_kd.arguments import check_number
from keras_kd.complexity.solvers.cholesky import KernelFactorization
from keras_kd.complexity.solvers.conditioning import IllConditioned
from keras_kd.complexity.solvers.conjugate_gradients import ConjugateGradients
from keras_kd.complexity.solvers.random_features import FeatureFactorization
from keras_kd.complexity.solvers.solution import Solution

# What a user gives as one: an array, an operator, or what has been factored.
Kernel: TypeAlias = (
    ArrayLike | LinearOperator | KernelFactorization | FeatureFactorization
)


class Solver(Protocol):
    r"""Solves with $K + \lambda I$ for one set of targets after another."""

    @property
    def n(self) -> int:
        """Number of examples."""

    @property
    def k(self) -> int | None:
        """Number of outputs; `None`: any number share the kernel."""

    @property
    def ridge(self) -> float:
        """`lambda`, in the units of the kernel, as far as is known before a solve."""

    @property
    def trace(self) -> float:
        """Of the kernel, without ridge, per output.

        Raises:
            TypeError: it cannot be had.
        """

    @property
    def traces(self) -> NDArray[np.float64]:
        """`(k,)`, of each output's kernel; `(1,)` where they share it.

        Raises:
            TypeError: they cannot be had.
        """

    @property
    def condition_number(self) -> float | None:
        """Of `K + ridge I`; `None`: known by solving alone."""

    def as_columns(self, targets: ArrayLike) -> NDArray[np.float64]:
        """`targets` as float64 `(n, k)`.

        Raises:
            ValueError: shape, dtype or an entry.
        """

    def row_shape_for(self, targets: NDArray[np.float64]) -> tuple[int, ...]:
        """What one example has to bring to be predicted, for targets `(n, k)`."""

    def solve(self, targets: ArrayLike) -> Solution:
        """Coefficients and norm of the function that fits the targets.

        Raises:
            ValueError: shape, dtype or an entry.
        """

    def predictions(
        self,
        test: NDArray[np.floating],
        targets: NDArray[np.float64],
        solution: Solution,
    ) -> NDArray[np.float64]:
        """The values `(m, k)` at other examples of the function that was solved for.

        Args:
            test: `(m, *row_shape)`, see `row_shape_for`.
            targets: `(n, k)`.
            solution: `solve(targets)`.
        """

    def leave_one_out(self, targets: ArrayLike) -> NDArray[np.float64] | None:
        """Predictions `(n, k)` for each example by the machine that fits all others.

        `None` where they do not come with the solution.
        """


def solver_of(
    kernel: Kernel,
    ridge: float = 0.0,
    ill_conditioned: IllConditioned = "error",
    tolerance: float = 1e-6,
    preconditioner: ArrayLike | None = None,
) -> Solver:
    """A factorisation as it is, or what solves with an array or an operator.

    Raises:
        ValueError: an argument is not for this kind of kernel.
    """
    iterative = isinstance(kernel, LinearOperator)
    check_number("tolerance", tolerance, above=0, below=1)
    if preconditioner is not None and not iterative:
        raise ValueError(
            "`preconditioner` is for conjugate gradients, with an `NTKOperator` as "
            f"`kernel`. Received: a kernel of type {type(kernel).__name__}"
        )
    if isinstance(kernel, KernelFactorization | FeatureFactorization):
        if ridge not in (0, kernel.ridge):
            raise ValueError(
                "`ridge` must be left out with a factorisation, which has its own. "
                f"Received: ridge={ridge!r}, and a factorisation with {kernel.ridge:g}"
            )
        return kernel
    if iterative:
        return ConjugateGradients(
            kernel,
            ridge,
            ill_conditioned=ill_conditioned,
            tolerance=tolerance,
            preconditioner=preconditioner,
        )
    return KernelFactorization(kernel, ridge, ill_conditioned=ill_conditioned)


def size_of(kernel: Kernel) -> tuple[int | None, int | None]:
    """Numbers of examples and of outputs, before any work; `None`: none, or any."""
    if hasattr(kernel, "n"):
        return kernel.n, getattr(kernel, "k", None)
    shape = np.shape(kernel)
    return (shape[0] if shape else None), (shape[2] if len(shape) > 2 else None)
