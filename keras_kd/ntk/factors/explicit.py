"""Per-example gradients, written out."""

from dataclasses import dataclass

import numpy as np

from keras_kd.ntk.factors.accumulator import Accumulator


@dataclass(frozen=True)
class Explicit:
    """The gradients of one variable.

    Attributes:
        variable: its place among the model's trainable variables.
        values: `(q, m, p)`: for each output and example, the gradient, flattened.
    """

    variable: int
    values: np.ndarray

    def __len__(self):
        return self.values.shape[1]

    @property
    def variables(self) -> tuple[int, ...]:
        return (self.variable,)

    @property
    def stored(self) -> int:
        """Numbers held for one example."""
        return self.values.shape[0] * self.values.shape[2]

    def pair_cost(self, form: str) -> float:
        """Floating-point operations for one pair of examples."""
        q, _, p = self.values.shape
        return 2.0 * p * (q * q if form == "full" else q)

    def example_cost(self, form: str) -> float:
        """Floating-point operations for one example, before any product."""
        return 0.0

    def method(self, form: str) -> str:
        return "explicit"

    def add_to(self, total: Accumulator, other=None) -> None:
        """Adds the products with `other`'s gradients, or with these themselves."""
        # Copied in pieces where the sums are in another precision.
        step = max(1, (1 << 25) // max(1, self.values.shape[0] * len(self)))
        for i in range(0, self.values.shape[2], step):
            block = slice(i, i + step)
            right = None if other is None else other.values[..., block]
            total.add_features(self.values[..., block], right)

    def squared_norms(self, form: str) -> np.ndarray:
        """`(m,)`, `(m, q)` or `(m, q, q)`: the kernel's diagonal."""
        return diagonal_of(self.values, form)

    def pull(self, weights) -> dict[int, np.ndarray]:
        """`J^T weights`: `{variable: flat sum}`, for `weights` `(q, m)`."""
        return {self.variable: np.einsum("qmp,qm->p", self.values, weights)}

    def push(self, directions) -> np.ndarray:
        """`J directions`: `(q, m)`, for `{variable: flat direction}`."""
        return self.values @ directions[self.variable]

    def gradients(self) -> dict[int, np.ndarray]:
        """`{variable: (q, m, p)}`."""
        return {self.variable: self.values}

    def in_dtype(self, dtype) -> "Explicit":
        """The same in another precision."""
        return Explicit(self.variable, self.values.astype(dtype, copy=False))

    def select(self, outputs: slice) -> "Explicit":
        """These gradients for some of the outputs."""
        return Explicit(self.variable, self.values[outputs])

    def project(self, signs, directions) -> np.ndarray:
        """Random projections `(m, dim)`, see `keras_kd.ntk.ntk_features`.

        Args:
            signs: `(q, dim)`.
            directions: `directions(place, kind, size)`, random signs `(size, dim)`.
        """
        size = self.values.shape[2]
        random = directions(self.variable, 0, size).astype(self.values.dtype)
        return np.einsum("qmd,qd->md", self.values @ random, signs)

    def take(self, rows: slice) -> "Explicit":
        """These gradients for some of the examples."""
        return Explicit(self.variable, self.values[:, rows])

    @staticmethod
    def concatenate(parts: list["Explicit"]) -> "Explicit":
        values = np.concatenate([part.values for part in parts], axis=1)
        return Explicit(parts[0].variable, values)


def diagonal_of(features, form: str) -> np.ndarray:
    """Inner products of gradients `(q, m, p)` of the same example."""
    if form == "full":
        return np.einsum("qmp,rmp->mqr", features, features, optimize=True)
    norms = np.einsum("qmp,qmp->mq", features, features)
    return norms.sum(-1) if form == "trace" else norms
