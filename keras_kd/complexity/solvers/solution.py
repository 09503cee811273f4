"""What solving for a set of targets gives."""

import dataclasses

import numpy as np
from numpy.typing import NDArray


@dataclasses.dataclass(frozen=True)
class Solution:
    r"""$(K + \lambda I)^{-1} Y$ and how well it was found.

    Attributes:
        coefficients: `(n, k)`.
        squared_norm: `Y^T (K + ridge I)^-1 Y`.
        ridge: that was added to the diagonal.
        condition_number: of the system that was solved.
        residual: `|(K + ridge I) coefficients - Y| / |Y|`.
        iterations: of conjugate gradients; `None`: a direct solve.
    """

    coefficients: NDArray[np.float64]
    squared_norm: float
    ridge: float
    condition_number: float
    residual: float
    iterations: int | None = None

    def at(self, kernel_test: NDArray[np.floating]) -> NDArray[np.float64]:
        """The function's values at other examples, `K_* coefficients`.

        Args:
            kernel_test: of these with the solved examples, `(m, n)`, `(m, n, k)` or
                `(m, n, k, k)`.

        Returns:
            Array `(m, k)`.
        """
        contraction = ("mi,ic->mc", "mic,ic->mc", "miop,ip->mo")[kernel_test.ndim - 2]
        values: NDArray[np.float64] = np.einsum(
            contraction, kernel_test, self.coefficients, optimize=True
        )
        return values


def relative(residual: NDArray[np.float64], targets: NDArray[np.float64]) -> float:
    """`|residual| / |targets|`, 0 for targets that are all 0."""
    size = float(np.linalg.norm(targets))
    return float(np.linalg.norm(residual)) / size if size > 0 else 0.0
