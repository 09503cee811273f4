"""What solving for a set of targets gives."""

import dataclasses

import numpy as np


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

    coefficients: np.ndarray
    squared_norm: float
    ridge: float
    condition_number: float
    residual: float
    iterations: int | None = None


def relative(residual: np.ndarray, targets: np.ndarray) -> float:
    """`|residual| / |targets|`, 0 for targets that are all 0."""
    size = float(np.linalg.norm(targets))
    return float(np.linalg.norm(residual)) / size if size > 0 else 0.0
