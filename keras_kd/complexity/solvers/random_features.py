"""A kernel that is given by features, through the system of their dimension."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from keras_kd.arguments import check_number
from keras_kd.complexity.arguments import check_array, check_targets
from keras_kd.complexity.solvers.cholesky import KernelFactorization
from keras_kd.complexity.solvers.conditioning import (
    IllConditioned,
    check_ill_conditioned,
    refuse,
    rounding_of,
)
from keras_kd.complexity.solvers.solution import Solution, relative

# Rows that are widened to float64 together.
_ROWS = 4096


class FeatureFactorization:
    r"""The kernel $\Phi \Phi^\top$ of features, by its `(dim, dim)` system (Woodbury).

    It serves any number of target sets in place of a kernel, with memory for
    `dim^2` numbers besides the features, and time `n dim^2` once. With features from
    `ntk_features` the kernel is an estimate of the trace NTK: of `k` outputs that share
    a kernel, divide them by `sqrt(k)`.

    The least of $\|w\|^2 + \|Y - \Phi w\|^2 / \lambda$ is $Y^\top (\Phi \Phi^\top +
    \lambda I)^{-1} Y$: a sum in which nothing cancels.

    Args:
        features: `(n, dim)`, used in float64 whatever their dtype.
        ridge: `lambda > 0`, in the units of the kernel, which is singular without.
        ill_conditioned: as in `KernelFactorization`.

    Attributes:
        n: number of examples.
        k: `None`: any number of outputs share the kernel.
        row_shape: `(dim,)`, what one example has.
        ridge: that is in the factor.
        trace: of the kernel, without ridge.
        traces: `(1,)`, the same: the outputs share the kernel.
        largest: its largest eigenvalue, to a per cent.
        condition_number: of `Phi Phi^T + ridge I`, its largest possible one.

    Raises:
        ValueError: `features` are not of this shape or not finite; `ridge` is not
            positive, or under the rounding of the kernel: the message names one that
            would do.

    Example:

    >>> import numpy as np
    >>> from keras_kd.complexity import FeatureFactorization, supervision_complexity
    >>> phi = np.random.default_rng(0).standard_normal((50, 3))
    >>> fast = FeatureFactorization(phi, ridge=0.1)
    >>> y = np.ones(50)
    >>> exact = supervision_complexity(phi @ phi.T, y, ridge=0.1)
    >>> abs(float(supervision_complexity(fast, y)) - float(exact)) < 1e-9
    True
    """

    k: int | None = None

    def __init__(
        self,
        features: ArrayLike,
        ridge: float,
        *,
        ill_conditioned: IllConditioned = "error",
    ) -> None:
        check_ill_conditioned(ill_conditioned)
        self.ridge = check_number("ridge", ridge, above=0)
        self._features = check_features("features", features)
        self.n, dim = self._features.shape
        self.row_shape: tuple[int, ...] = (dim,)
        gram = np.zeros((dim, dim))
        for _, rows in self._blocks():
            gram += rows.T @ rows
        self.trace = float(np.trace(gram))
        self.traces: NDArray[np.float64] = np.array([self.trace])
        if not self.trace > 0:
            raise ValueError("`features` must not be 0 everywhere.")
        self._gram = KernelFactorization(
            gram, self.ridge, ill_conditioned=ill_conditioned
        )
        self.ridge = self._gram.ridge
        self.largest = self._gram.largest
        # Of fewer features than examples the ridge alone is the smallest eigenvalue.
        rounding = rounding_of(np.float64, self.n, self.largest)
        if self.ridge <= rounding:
            self.ridge = refuse(
                self.ridge, rounding, self.ridge, np.float64, ill_conditioned
            )
            self._gram = KernelFactorization(gram, self.ridge)
        self.condition_number = (self.largest + self.ridge) / self.ridge

    def as_columns(self, targets: ArrayLike) -> NDArray[np.float64]:
        """`targets` as float64 `(n, k)`.

        Raises:
            ValueError: shape, dtype or an entry.
        """
        return check_targets(targets, self.n)

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
        columns = self.as_columns(targets)
        weights = self.weights(columns)
        missed = columns - self._times(weights)
        coefficients = missed / self.ridge
        # By its definition, not by the equation that gave the weights.
        fitted = self._times(self._transposed(coefficients))
        return Solution(
            coefficients,
            float(np.vdot(weights, weights) + np.vdot(missed, missed) / self.ridge),
            self.ridge,
            self.condition_number,
            relative(fitted + missed - columns, columns),
        )

    def predictions(
        self,
        test: NDArray[np.floating],
        targets: NDArray[np.float64],
        solution: Solution,
    ) -> NDArray[np.float64]:
        """The values `(m, k)` at other examples of the function that was solved for.

        Args:
            test: features of these, `(m, dim)`.
            targets: `(n, k)`.
            solution: `solve(targets)`.
        """
        return np.asarray(test @ self.weights(targets))

    def weights(self, targets: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of the features, `(dim, k)`: the ridge regression of the targets on them."""
        return self._gram.solve(self._transposed(targets)).coefficients

    def coefficients(self, targets: NDArray[np.float64]) -> NDArray[np.float64]:
        """`(Phi Phi^T + ridge I)^-1 targets`, `(n, k)`."""
        return (targets - self._times(self.weights(targets))) / self.ridge

    def _times(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """`Phi weights`."""
        return np.concatenate([rows @ weights for _, rows in self._blocks()])

    def leave_one_out(self, targets: ArrayLike) -> NDArray[np.float64]:
        """Predictions for each example by the machine that fits all the others.

        Args:
            targets: `(n,)` or `(n, k)`.

        Returns:
            Array `(n, k)`.

        Source: the diagonal of the hat matrix; Rasmussen & Williams, *Gaussian
        Processes for Machine Learning*, equation 5.12.
        """
        columns = self.as_columns(targets)
        missed = columns - self._times(self.weights(columns))
        (inverse,) = self._gram.inverses()
        hat = [np.einsum("id,id->i", r @ inverse, r) for _, r in self._blocks()]
        return np.asarray(columns - missed / (1 - np.concatenate(hat))[:, None])

    def _transposed(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """`Phi^T values`."""
        total: NDArray[np.float64] = np.zeros(
            (self._features.shape[1], values.shape[1])
        )
        for part, rows in self._blocks():
            total += rows.T @ values[part]
        return total

    def _blocks(self) -> Iterator[tuple[slice, NDArray[np.float64]]]:
        for first in range(0, self.n, _ROWS):
            part = slice(first, first + _ROWS)
            yield part, self._features[part].astype(np.float64)


def check_features(argument: str, features: ArrayLike) -> NDArray[Any]:
    """`features` as an array `(n, dim)` in their own dtype.

    Raises:
        ValueError: shape, dtype or an entry.
    """
    array = check_array(features, argument)
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(
            f"`{argument}` must be of shape (n, dim). Received: shape {array.shape}"
        )
    return array
