"""What every kind of factor can do."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol, Self, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from keras_kd.ntk.factors.accumulator import Accumulator, Form

# How a gradient's products come about: it is formed, is one outer product of its
# input and its cotangent, or is a sum of such, which are paired.
Method: TypeAlias = Literal["explicit", "outer", "pairs"]
# Random signs `(size, dim)` for the place of a variable and a kind.
Directions: TypeAlias = Callable[[int, int, int], NDArray[np.int8]]


class Factor(Protocol):
    """Per-example gradients `(q, m, size)` of some variables, held in some form.

    `q` is the number of combinations of outputs, `m` of examples. Variables are known
    by their places among the model's trainable ones.
    """

    def __len__(self) -> int:
        """`m`."""

    @property
    def variables(self) -> tuple[int, ...]:
        """Whose gradients these are."""

    @property
    def stored(self) -> int:
        """Numbers held for one example."""

    def preferring(self, implementation: str) -> Self:
        """The same, told whether to count what is cheaper or to form no gradient."""

    def method(self, form: Form) -> Method:
        """How the products come about."""

    def pair_cost(self, form: Form) -> float:
        """Floating-point operations for one pair of examples."""

    def example_cost(self, form: Form) -> float:
        """Floating-point operations for one example, before any product."""

    def add_to(self, total: Accumulator, other: Self | None = None) -> None:
        """Adds the products with `other`'s gradients, or with these themselves."""

    def squared_norms(self, form: Form) -> NDArray[Any]:
        """`(m,)`, `(m, q)` or `(m, q, q)`: the kernel's diagonal."""

    def pull(self, weights: NDArray[Any]) -> dict[int, NDArray[Any]]:
        """`J^T weights`: `{variable: flat sum}`, for `weights` `(q, m)`."""

    def push(self, directions: dict[int, NDArray[Any]]) -> NDArray[Any]:
        """`J directions`: `(q, m)`, for `{variable: flat direction}`."""

    def project(self, signs: NDArray[Any], directions: Directions) -> NDArray[Any]:
        """Random projections `(m, dim)`, see `keras_kd.ntk.ntk_features`.

        Args:
            signs: `(q, dim)`.
            directions: `directions(place, kind, size)`, random signs `(size, dim)`.
        """

    def gradients(self) -> dict[int, NDArray[Any]]:
        """`{variable: (q, m, size)}`, each example's gradient written out."""

    def in_dtype(self, dtype: DTypeLike) -> Self:
        """The same in another precision."""

    def select(self, outputs: slice) -> Self:
        """These gradients for some of the outputs."""

    def take(self, rows: slice) -> Self:
        """These gradients for some of the examples."""

    def compact(self, form: Form) -> "Sequence[Factor]":
        """The same gradients in the form that takes the least memory to hold."""

    def is_like(self, other: "Factor") -> bool:
        """Whether both are of calls of one layer, which can be held as one factor."""

    def with_calls_of(self, others: Sequence[Any]) -> Self:
        """The sum of factors that are alike, this one among them."""

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """The gradients of several batches of examples, one after another."""
