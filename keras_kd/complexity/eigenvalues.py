"""A kernel's eigenvalues, and how much of the targets lies along each."""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg

from keras_kd.complexity.arguments import check_kernel, check_targets
from keras_kd.complexity.solvers.cholesky import matrices_of
from keras_kd.plots import plot_eigenvalues

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclasses.dataclass(frozen=True)
class Spectrum:
    """Eigenvalues and energies; `sum(energy / eigenvalues)` is the squared complexity.

    Attributes:
        eigenvalues: descending, `(n,)`; for a kernel an output `(n, k)`, a column each;
            for the full kernel `(n k,)`. By rounding the last may be below 0.
        energy: squared projection of the targets on each eigenvector: `(n, k)`, a
            column an output; for the full kernel, whose eigenvectors are of all outputs
            together, `(n k,)`. Its sum is that of the squared targets.
    """

    eigenvalues: NDArray[np.float64]
    energy: NDArray[np.float64]

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """The eigenvalues, and the share of the targets along the largest of them.

        Args:
            ax: Matplotlib `Axes` to draw on; `None`: a figure of its own.

        Returns:
            The `Axes` of the eigenvalues.
        """
        return plot_eigenvalues(self.eigenvalues, self.energy, ax)


def spectrum(kernel: ArrayLike, targets: ArrayLike) -> Spectrum:
    r"""Eigenvalues $\lambda_i$ of the kernel and energies $(v_i^\top y)^2$ along each.

    Targets with much energy along small eigenvalues are complex: they are what a
    network learns last.

    Args:
        kernel: `(n, n)`, `(n, n, k)` or `(n, n, k, k)`.
        targets: `(n,)` or `(n, k)`.

    Returns:
        `Spectrum(eigenvalues, energy)`.

    Raises:
        ValueError: shapes disagree, `kernel` is not symmetric, or not all is finite.

    Source: Harutyunyan et al., ICLR 2023, section 2; Arora et al., "Fine-Grained
    Analysis of Optimization and Generalization", ICML 2019, equation 8.

    Example:

    >>> import numpy as np
    >>> from keras_kd.complexity import spectrum
    >>> result = spectrum(np.diag([1.0, 4.0]), np.array([3.0, 2.0]))
    >>> result.eigenvalues.tolist(), result.energy[:, 0].tolist()
    ([4.0, 1.0], [4.0, 9.0])
    """
    array = check_kernel(kernel)
    k = None if array.ndim == 2 else array.shape[2]
    right = check_targets(targets, len(array), k)
    full = array.ndim == 4
    columns = [right.reshape(-1, 1)] if full else np.hsplit(right, k or 1)
    values, energies = [], []
    for matrix, y in zip(matrices_of(array), columns, strict=True):
        value, vectors = linalg.eigh(matrix.astype(np.float64), check_finite=False)
        values.append(value[::-1])
        energies.append(np.square(vectors.T @ y)[::-1])
    energy = np.concatenate(energies, axis=1)
    if full:
        return Spectrum(values[0], energy[:, 0])
    return Spectrum(values[0] if k is None else np.stack(values, axis=1), energy)
