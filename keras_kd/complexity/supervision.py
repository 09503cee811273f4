"""Supervision complexity: the norm of the smoothest function that fits the targets."""

import math
from typing import Any

from numpy.typing import ArrayLike

from keras_kd.complexity.solvers.conditioning import IllConditioned
from keras_kd.complexity.solvers.solution import Solution
from keras_kd.complexity.solvers.solver import Kernel, solver_of


class Complexity(float):
    """A complexity: a float that knows how well it is known.

    What is computed with it is a plain float; it is compared and hashed as one.

    Attributes:
        ridge: that was added to the kernel's diagonal, in the kernel's units.
        condition_number: largest over smallest eigenvalue of the system that was
            solved; with conjugate gradients an estimate from below, with a
            preconditioner of the preconditioned system.
        residual: relative residual of the solve.
        iterations: of conjugate gradients; `None`: a direct solve.

    Example:

    >>> from keras_kd.complexity import Complexity
    >>> complexity = Complexity(2.5, ridge=0.1, condition_number=40.0, residual=1e-12)
    >>> f"{complexity / 2:.3f}", complexity < 3, complexity.ridge
    ('1.250', True, 0.1)
    """

    __slots__ = ("condition_number", "iterations", "residual", "ridge")

    ridge: float
    condition_number: float
    residual: float
    iterations: int | None

    def __new__(
        cls,
        value: float,
        ridge: float,
        condition_number: float,
        residual: float,
        iterations: int | None = None,
    ) -> "Complexity":
        self = super().__new__(cls, value)
        for name, known in (
            ("ridge", ridge),
            ("condition_number", condition_number),
            ("residual", residual),
            ("iterations", iterations),
        ):
            object.__setattr__(self, name, known)
        return self

    @property
    def value(self) -> float:
        """The complexity as a plain float."""
        return float(self)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"cannot set `{name}`: a Complexity does not change")

    def __reduce__(self) -> tuple[Any, ...]:
        known = (self.ridge, self.condition_number, self.residual, self.iterations)
        return type(self), (self.value, *known)

    def __repr__(self) -> str:
        return (
            f"Complexity(value={self.value!r}, ridge={self.ridge!r}, "
            f"condition_number={self.condition_number!r}, "
            f"residual={self.residual!r}, iterations={self.iterations!r})"
        )

    def __str__(self) -> str:
        return float.__repr__(self)


def supervision_complexity(
    kernel: Kernel,
    targets: ArrayLike,
    ridge: float = 0.0,
    *,
    ill_conditioned: IllConditioned = "error",
    tolerance: float = 1e-6,
    preconditioner: ArrayLike | None = None,
) -> Complexity:
    r"""Supervision complexity $\sqrt{Y^\top (K + \lambda I)^{-1} Y}$.

    At ridge 0 it is the norm of the smoothest function of the kernel's space that takes
    the values `Y`; a ridge makes it smaller. For several outputs `Y^T K^-1 Y` is summed
    over the columns of `Y` where they share `K` or have a kernel each, and is that of
    `vec(Y)` for the full kernel. A kernel that the `k` outputs of a network share is
    its trace NTK **divided by k**: `empirical_ntk(model, x) / k`.

    Args:
        kernel: `(n, n)`, `(n, n, k)` or `(n, n, k, k)` array; an `NTKOperator` (or
            another symmetric `scipy.sparse.linalg.LinearOperator`), which is solved by
            conjugate gradients, `(n k, n k)` with row `i k + o` for the full kernel; or
            a `KernelFactorization` or `FeatureFactorization`, which has its own ridge.
        targets: `(n,)` or `(n, k)`; each column is one output.
        ridge: `lambda >= 0`, in the units of the kernel.
        ill_conditioned: what happens to a kernel whose smallest eigenvalue is under
            its rounding: `"error"`, or `"warn"`, which goes on with the ridge that
            would do. Ask for kernels with `accumulate="float64"`.
        tolerance: relative residual at which conjugate gradients stop.
        preconditioner: `(n, dim)` features from `ntk_features(..., outputs="trace")`
            that speed conjugate gradients up; the value stays that of `kernel`.

    Returns:
        `Complexity`, a float that knows its ridge, condition number and residual.

    Raises:
        ValueError: shapes disagree, an argument is out of its range or not finite, or
            `kernel` is not positive definite at this `ridge`; the message names one
            that would do.
        RuntimeError: conjugate gradients do not converge.

    Source: Harutyunyan et al., "Supervision Complexity and its Role in Knowledge
    Distillation", ICLR 2023, section 2.

    Example:

    >>> import numpy as np
    >>> from keras_kd.complexity import supervision_complexity
    >>> x = np.linspace(0, 1, 5)
    >>> kernel = np.exp(-4 * np.subtract.outer(x, x) ** 2)
    >>> smooth = supervision_complexity(kernel, x)
    >>> jumps = supervision_complexity(kernel, [0.0, 1.0, 0.0, 1.0, 0.0])
    >>> smooth < 2 < 8 < jumps
    True
    """
    solver = solver_of(kernel, ridge, ill_conditioned, tolerance, preconditioner)
    return _complexity(solver.solve(targets))


def adjusted_supervision_complexity(
    kernel: Kernel,
    targets: ArrayLike,
    ridge: float = 0.0,
    *,
    ill_conditioned: IllConditioned = "error",
    tolerance: float = 1e-6,
    preconditioner: ArrayLike | None = None,
) -> Complexity:
    r"""Scale-free $\frac1n\sqrt{Y^\top (K + \lambda I)^{-1} Y\,\mathrm{tr} K}$.

    It does not change when kernel and ridge are multiplied by a number. The trace is
    taken per output, `tr K / k` for the full kernel and the mean trace for a kernel an
    output, so that the same kernel in another form has the same value.

    Args:
        kernel: as in `supervision_complexity`; an operator must be an `NTKOperator`,
            whose trace can be had.
        targets: `(n,)` or `(n, k)`; each column is one output.
        ridge: `lambda >= 0`, in the units of the kernel.
        ill_conditioned: as in `supervision_complexity`.
        tolerance: as in `supervision_complexity`.
        preconditioner: as in `supervision_complexity`.

    Returns:
        `Complexity`, a float that knows its ridge, condition number and residual.

    Raises:
        ValueError, RuntimeError: as `supervision_complexity`.
        TypeError: `kernel` is an operator without a trace.

    Source: Harutyunyan et al., ICLR 2023, section 2.

    Example:

    >>> import numpy as np
    >>> from keras_kd.complexity import adjusted_supervision_complexity
    >>> round(adjusted_supervision_complexity(7 * np.eye(4), np.ones(4)), 6)
    1.0
    """
    solver = solver_of(kernel, ridge, ill_conditioned, tolerance, preconditioner)
    # Before the solve, which may be long: not every operator has a trace.
    trace = solver.trace
    return _complexity(solver.solve(targets), math.sqrt(trace) / solver.n)


def _complexity(solution: Solution, factor: float = 1.0) -> Complexity:
    return Complexity(
        math.sqrt(solution.squared_norm) * factor,
        solution.ridge,
        solution.condition_number,
        solution.residual,
        solution.iterations,
    )
