"""Per-example gradients, written out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from keras_kd.ntk.factors.accumulator import Accumulator, Form
from keras_kd.ntk.factors.factor import Directions, Factor, Method


@dataclass(frozen=True)
class Explicit:
    """The gradients of one variable.

    Attributes:
        variable: its place among the model's trainable variables.
        values: `(q, m, p)`: for each output and example, the gradient, flattened.
    """

    variable: int
    values: NDArray[Any]

    def __len__(self) -> int:
        return int(self.values.shape[1])

    @property
    def variables(self) -> tuple[int, ...]:
        return (self.variable,)

    @property
    def stored(self) -> int:
        """Numbers held for one example."""
        return int(self.values.shape[0] * self.values.shape[2])

    def preferring(self, implementation: str) -> "Explicit":
        """These: they are formed already."""
        return self

    def pair_cost(self, form: Form) -> float:
        """Floating-point operations for one pair of examples."""
        q, _, p = self.values.shape
        return 2.0 * float(p * (q * q if form == "full" else q))

    def example_cost(self, form: Form) -> float:
        """Floating-point operations for one example, before any product."""
        return 0.0

    def method(self, form: Form) -> Method:
        """`"explicit"`."""
        return "explicit"

    def add_to(self, total: Accumulator, other: "Explicit | None" = None) -> None:
        """Adds the products with `other`'s gradients, or with these themselves."""
        # Copied in pieces where the sums are in another precision.
        step = max(1, (1 << 25) // max(1, self.values.shape[0] * len(self)))
        for i in range(0, self.values.shape[2], step):
            block = slice(i, i + step)
            right = None if other is None else other.values[..., block]
            total.add_features(self.values[..., block], right)

    def squared_norms(self, form: Form) -> NDArray[Any]:
        """`(m,)`, `(m, q)` or `(m, q, q)`: the kernel's diagonal."""
        return diagonal_of(self.values, form)

    def pull(self, weights: NDArray[Any]) -> dict[int, NDArray[Any]]:
        """`J^T weights`: `{variable: flat sum}`, for `weights` `(q, m)`."""
        return {self.variable: np.einsum("qmp,qm->p", self.values, weights)}

    def push(self, directions: dict[int, NDArray[Any]]) -> NDArray[Any]:
        """`J directions`: `(q, m)`, for `{variable: flat direction}`."""
        return np.asarray(self.values @ directions[self.variable])

    def gradients(self) -> dict[int, NDArray[Any]]:
        """`{variable: (q, m, p)}`."""
        return {self.variable: self.values}

    def in_dtype(self, dtype: DTypeLike) -> "Explicit":
        """The same in another precision."""
        return Explicit(self.variable, self.values.astype(dtype, copy=False))

    def select(self, outputs: slice) -> "Explicit":
        """These gradients for some of the outputs."""
        return Explicit(self.variable, self.values[outputs])

    def compact(self, form: Form) -> Sequence[Factor]:
        """These alone: there is nothing that could be multiplied out."""
        return [self]

    def is_like(self, other: Factor) -> bool:
        """Whether `other` is the same variable's, written out too."""
        return isinstance(other, Explicit) and other.variable == self.variable

    def with_calls_of(self, others: Sequence["Explicit"]) -> "Explicit":
        """The sum of the gradients of all."""
        total = others[0].values
        for other in others[1:]:
            total = total + other.values
        return Explicit(self.variable, total)

    def project(self, signs: NDArray[Any], directions: Directions) -> NDArray[Any]:
        """Random projections `(m, dim)`, see `keras_kd.ntk.ntk_features`.

        Args:
            signs: `(q, dim)`.
            directions: `directions(place, kind, size)`, random signs `(size, dim)`.
        """
        size = self.values.shape[2]
        random = directions(self.variable, 0, size).astype(self.values.dtype)
        projected: NDArray[Any] = np.einsum("qmd,qd->md", self.values @ random, signs)
        return projected

    def take(self, rows: slice) -> "Explicit":
        """These gradients for some of the examples."""
        return Explicit(self.variable, self.values[:, rows])

    @classmethod
    def concatenate(cls, parts: Sequence["Explicit"]) -> "Explicit":
        """The gradients of several batches of examples, one after another."""
        values = np.concatenate([part.values for part in parts], axis=1)
        return Explicit(parts[0].variable, values)


def diagonal_of(features: NDArray[Any], form: Form) -> NDArray[Any]:
    """Inner products of gradients `(q, m, p)` of the same example."""
    if form == "full":
        pairs: NDArray[Any] = np.einsum(
            "qmp,rmp->mqr", features, features, optimize=True
        )
        return pairs
    norms: NDArray[Any] = np.einsum("qmp,qmp->mq", features, features)
    return np.asarray(norms.sum(-1)) if form == "trace" else norms
