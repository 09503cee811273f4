"""Per-example gradients of a layer that is linear in its kernel, kept as factors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from keras_kd.ntk.factors.accumulator import Accumulator, Form
from keras_kd.ntk.factors.explicit import Explicit, diagonal_of
from keras_kd.ntk.factors.factor import Directions, Factor, Method
from keras_kd.ntk.factors.inputs import Inputs
from keras_kd.ntk.factors.threads import in_threads

# Gradients that are formed and thrown away are formed in blocks of so many numbers:
# memory that is touched for the first time costs more than what is computed in it.
_BLOCK = 1 << 24
# Other temporary arrays have at most so many.
_PIECE = 1 << 26
# Patches are cut for so many numbers at a time: what a cache holds.
_CACHED = 1 << 21

# What one number costs that is only multiplied and added, in floating-point
# operations of a matrix product, which does not wait for memory.
_ELEMENTWISE = 16.0


@dataclass(frozen=True)
class Layout:
    """How a kernel's numbers lie: `(g, i, o)`, split into `axes`, then permuted."""

    axes: tuple[int, ...]
    permutation: tuple[int, ...]

    def to_variable(self, gradients: NDArray[Any]) -> NDArray[Any]:
        """`(..., g, i, o)` as `(..., size)`, in the variable's order."""
        lead = gradients.shape[:-3]
        split = gradients.reshape(*lead, *self.axes)
        n = len(lead)
        order = (*range(n), *(n + axis for axis in self.permutation))
        return split.transpose(order).reshape(*lead, -1)

    def from_variable(self, flat: NDArray[Any], groups: int, size: int) -> NDArray[Any]:
        """A direction, flat in the variable's order, as `(g, i, o)`."""
        shape = [self.axes[axis] for axis in self.permutation]
        split = flat.reshape(shape).transpose(np.argsort(self.permutation))
        return split.reshape(groups, size, -1)


@dataclass(frozen=True)
class OuterProduct:
    r"""`sum_t a_t (x) d_t`: inputs times cotangents, summed over positions.

    Attributes:
        kernel: the kernel's place among the model's trainable variables; `None` where
            it is not asked for.
        bias: likewise; its gradient is `sum_t d_t`.
        layout: of the kernel.
        calls: for each call of the layer the inputs and the cotangents
            `(q, m, t, g, o)`.
        prefer: `"structured"` never forms a gradient, `"auto"` counts.
    """

    kernel: int | None
    bias: int | None
    layout: Layout
    calls: tuple[tuple[Inputs, NDArray[Any]], ...]
    prefer: str = "auto"

    def __len__(self) -> int:
        return len(self.calls[0][0])

    @property
    def variables(self) -> tuple[int, ...]:
        """Whose gradients these are."""
        return tuple(v for v in (self.kernel, self.bias) if v is not None)

    @property
    def stored(self) -> int:
        """Numbers held for one example."""
        return sum(a.stored + d[:, 0].size for a, d in self.calls)

    @property
    def _sizes(self) -> tuple[int, int, int, int, int]:
        """Outputs, positions of all calls, groups, columns of inputs and cotangents."""
        q, _, _, g, o = self.calls[0][1].shape
        t = sum(a.positions for a, _ in self.calls)
        return q, t, g, self.calls[0][0].size if self.kernel is not None else 0, o

    def _explicit_cost(self, form: Form) -> float:
        q, _, g, i, o = self._sizes
        pairs = q * q if form == "full" else q
        return 2.0 * pairs * g * o * (i + (self.bias is not None))

    def _structured_cost(self, form: Form) -> float:
        q, t, g, i, o = self._sizes
        pairs = q * q if form == "full" else q
        each = 1 if form == "trace" else pairs
        return g * t * t * (2.0 * (i + pairs * o) + _ELEMENTWISE * (t > 1) * each)

    def preferring(self, implementation: str) -> "OuterProduct":
        """The same, told whether to count what is cheaper or to form no gradient."""
        return replace(self, prefer=implementation)

    def method(self, form: Form) -> Method:
        """`"explicit"`, or `"outer"` (one position) or `"pairs"` (of positions)."""
        structured: Method = "outer" if self._sizes[1] == 1 else "pairs"
        if self.prefer == "structured":
            return structured
        # Beside the pairs, forming the gradients is linear in the examples.
        cheaper = self._structured_cost(form) <= self._explicit_cost(form)
        return structured if cheaper else "explicit"

    def pair_cost(self, form: Form) -> float:
        """Floating-point operations for one pair of examples."""
        if self.method(form) == "explicit":
            return self._explicit_cost(form)
        return self._structured_cost(form)

    def example_cost(self, form: Form) -> float:
        """Floating-point operations for one example, before any product."""
        q, t, g, i, o = self._sizes
        return 2.0 * q * t * g * i * o if self.method(form) == "explicit" else 0.0

    def add_to(self, total: Accumulator, other: "OuterProduct | None" = None) -> None:
        """Adds the products with `other`'s gradients, or with these themselves."""
        method = self.method(total.form)
        if method == "explicit":
            self._add_explicit(total, other)
            return
        sides = (
            [self._joined()] * 2 if other is None else [self._joined(), other._joined()]
        )
        # One position has no axis of positions.
        at: Any = 0 if method == "outer" else slice(None)
        add = total.add_outer if method == "outer" else total.add_pairs
        for g in range(self._sizes[2]):
            inputs = [None if a is None else a[:, at, g] for a, _ in sides]
            cotangents = [d[:, :, at, g] for _, d in sides]
            add(inputs, cotangents, self.bias is not None)

    def _joined(self) -> tuple[NDArray[Any] | None, NDArray[Any]]:
        """All calls as one, their positions after one another."""
        d = np.concatenate([d for _, d in self.calls], axis=2)
        if self.kernel is None:
            return None, d
        return np.concatenate([a.columns() for a, _ in self.calls], axis=1), d

    def _add_explicit(self, total: Accumulator, other: "OuterProduct | None") -> None:
        q, _, g, _, o = self._sizes
        rows = max(len(self), 0 if other is None else len(other))
        if self.kernel is not None:
            count = max(1, _BLOCK // (q * rows * g * o))
            others = [a for a, _ in self.calls[1:]]
            others += [] if other is None else [a for a, _ in other.calls]
            for block in self.calls[0][0].blocks(count, others):
                left = self._flat_gradients(block, total.workspace("left"))
                right = None
                if other is not None:
                    right = other._flat_gradients(block, total.workspace("right"))
                total.add_features(left, right)
        if self.bias is not None:
            right = None if other is None else other._bias_gradients()
            total.add_features(self._bias_gradients(), right)

    def _flat_gradients(
        self, block: Any = None, empty: Callable[..., NDArray[Any]] = np.empty
    ) -> NDArray[Any]:
        gradients = self._kernel_gradients(block, empty)
        return gradients.reshape(*gradients.shape[:2], -1)

    def _kernel_gradients(
        self, block: Any = None, empty: Callable[..., NDArray[Any]] = np.empty
    ) -> NDArray[Any]:
        """`(q, m, g, columns of the block, o)`."""
        q, t, g, i, o = self._sizes
        step = max(1, _CACHED // (t * g * i))
        columns = self.calls[0][0].take(slice(0, 1)).columns(block).shape[3]
        shape = (q, len(self), g, columns, o)
        result = empty(shape, self.calls[0][1].dtype)

        def form(rows: slice) -> None:
            for call, (inputs, d) in enumerate(self.calls):
                a = inputs.take(rows).columns(block).transpose(0, 2, 3, 1)
                if call == 0:
                    np.matmul(a, d[:, rows].swapaxes(2, 3), out=result[:, rows])
                else:
                    result[:, rows] += a @ d[:, rows].swapaxes(2, 3)

        in_threads(form, (slice(i, i + step) for i in range(0, len(self), step)))
        return result

    def _bias_gradients(self) -> NDArray[Any]:
        sums: Any = sum(d.sum(2) for _, d in self.calls)
        return np.asarray(sums.reshape(*sums.shape[:2], -1))

    def gradients(self) -> dict[int, NDArray[Any]]:
        """`{variable: (q, m, size)}`, each example's gradient written out."""
        found = {}
        if self.kernel is not None:
            found[self.kernel] = self.layout.to_variable(self._kernel_gradients())
        if self.bias is not None:
            found[self.bias] = self._bias_gradients()
        return found

    def squared_norms(self, form: Form) -> NDArray[Any]:
        """`(m,)`, `(m, q)` or `(m, q, q)`: the kernel's diagonal."""
        q, t, g, i, o = self._sizes
        norms: Any = 0.0
        if self.kernel is not None:
            if t == 1 and g == 1:
                inputs, d = self.calls[0]
                a = inputs.columns()[:, 0, 0]
                squares = np.einsum("mi,mi->m", a, a)
                norms = diagonal_of(d[:, :, 0, 0], form)
                norms = norms * squares.reshape(-1, *(1,) * (norms.ndim - 1))
            else:
                step = max(1, _PIECE // (q * g * i * o))
                parts = [
                    self.take(slice(first, first + step))._flat_gradients()
                    for first in range(0, len(self), step)
                ]
                norms = np.concatenate([diagonal_of(part, form) for part in parts])
        if self.bias is not None:
            norms = norms + diagonal_of(self._bias_gradients(), form)
        return np.asarray(norms)

    def is_like(self, other: Factor) -> bool:
        """Whether `other` is of another call of the same layer."""
        return isinstance(other, OuterProduct) and (
            (self.kernel, self.bias, self.layout)
            == (other.kernel, other.bias, other.layout)
        )

    def with_calls_of(self, others: Sequence["OuterProduct"]) -> "OuterProduct":
        """All calls of factors that are alike."""
        return replace(self, calls=tuple(c for other in others for c in other.calls))

    def take(self, rows: slice) -> "OuterProduct":
        """These gradients for some of the examples."""
        calls = tuple((a.take(rows), d[:, rows]) for a, d in self.calls)
        return replace(self, calls=calls)

    def pull(self, weights: NDArray[Any]) -> dict[int, NDArray[Any]]:
        """`J^T weights`: `{variable: flat sum}`, for `weights` `(q, m)`."""
        _, t, g, i, o = self._sizes
        found: dict[int, NDArray[Any]] = {}
        step = max(1, _PIECE // max(1, t * g * i))
        total: Any = 0.0
        for inputs, d in self.calls:
            # Weighted and summed over the outputs: one cotangent a position.
            weighted = np.einsum("qmtgo,qm->mtgo", d, weights)
            if self.kernel is not None:
                for first in range(0, len(self), step):
                    rows = slice(first, first + step)
                    a = inputs.take(rows).columns()
                    flat = a.reshape(-1, g, i).transpose(1, 2, 0)
                    total = total + flat @ weighted[rows].reshape(-1, g, o).swapaxes(
                        0, 1
                    )
            if self.bias is not None:
                before = found.get(self.bias, 0.0)
                found[self.bias] = before + weighted.sum((0, 1)).reshape(-1)
        if self.kernel is not None:
            found[self.kernel] = self.layout.to_variable(np.asarray(total))
        return found

    def push(self, directions: dict[int, NDArray[Any]]) -> NDArray[Any]:
        """`J directions`: `(q, m)`, for `{variable: flat direction}`."""
        q, t, g, i, o = self._sizes
        total = np.zeros((q, len(self)), self.calls[0][1].dtype)
        step = max(1, _PIECE // max(1, t * g * i))
        if self.kernel is not None:
            kernel = self.layout.from_variable(directions[self.kernel], g, i)
        for inputs, d in self.calls:
            for first in range(0, len(self), step):
                rows = slice(first, first + step)
                moved: Any = 0.0
                if self.kernel is not None:
                    a = inputs.take(rows).columns()
                    flat = a.reshape(-1, g, i).swapaxes(0, 1) @ kernel
                    moved = flat.swapaxes(0, 1).reshape(*a.shape[:2], g, o)
                if self.bias is not None:
                    moved = moved + directions[self.bias].reshape(g, o)
                total[:, rows] += np.einsum("qmtgo,mtgo->qm", d[:, rows], moved)
        return total

    def project(self, signs: NDArray[Any], directions: Directions) -> NDArray[Any]:
        """Random projections `(m, dim)`, see `keras_kd.ntk.ntk_features`.

        Args:
            signs: `(q, dim)`.
            directions: `directions(place, kind, size)`, random signs `(size, dim)`.
        """
        total = np.zeros((len(self), signs.shape[1]), self.calls[0][1].dtype)
        if self.kernel is not None:
            g, i, o = self._sizes[2:]
            sides = [
                [
                    directions(self.kernel, 2 * group + side, size).astype(total.dtype)
                    for side, size in enumerate((i, o))
                ]
                for group in range(g)
            ]
            if self._form_to_project(signs.shape[1]):
                self._project_gradients(total, signs, sides)
            else:
                self._project_positions(total, signs, sides)
        if self.bias is not None:
            bias = Explicit(self.bias, self._bias_gradients())
            total += bias.project(signs, directions)
        return total

    def _form_to_project(self, dim: int) -> bool:
        """Whether it takes less to form the gradients than to project positions."""
        q, t, g, i, o = self._sizes
        positions = t * dim * (2.0 * (i / q + o) + _ELEMENTWISE)
        gradients = 2.0 * i * o * (t + dim)
        small = q * g * i * o <= _PIECE
        return self.prefer != "structured" and small and gradients < positions

    def _project_gradients(
        self, total: NDArray[Any], signs: NDArray[Any], sides: list[list[NDArray[Any]]]
    ) -> None:
        q, _, g, i, o = self._sizes
        dim = signs.shape[1]
        step = max(1, _BLOCK // (q * max(g * i * o, dim)))
        columns = max(1, _BLOCK // (o * dim))
        for first in range(0, len(self), step):
            rows = slice(first, first + step)
            gradients = self.take(rows)._kernel_gradients()
            for group, (left, right) in enumerate(sides):
                for begin in range(0, i, columns):
                    block = slice(begin, begin + columns)
                    both = (left[block, None] * right).reshape(-1, dim)
                    part = gradients[:, :, group, block].reshape(q, -1, len(both))
                    for of_output, sign in zip(part, signs, strict=True):
                        total[rows] += of_output @ both * sign

    def _project_positions(
        self, total: NDArray[Any], signs: NDArray[Any], sides: list[list[NDArray[Any]]]
    ) -> None:
        _, t, g, i, o = self._sizes
        step = max(1, _PIECE // (8 * t * max(g * i, g * o, signs.shape[1])))
        for inputs, d in self.calls:
            for first in range(0, len(self), step):
                rows = slice(first, first + step)
                columns = inputs.take(rows).columns()
                for group, (left, right) in enumerate(sides):
                    a = columns[:, :, group] @ left
                    for of_output, sign in zip(
                        d[:, rows, :, group], signs, strict=True
                    ):
                        # Summed over positions first, signed afterwards.
                        total[rows] += (a * (of_output @ right)).sum(1) * sign

    def in_dtype(self, dtype: DTypeLike) -> "OuterProduct":
        """The same in another precision."""
        calls = tuple(
            (a.in_dtype(dtype), d.astype(dtype, copy=False)) for a, d in self.calls
        )
        return replace(self, calls=calls)

    def select(self, outputs: slice) -> "OuterProduct":
        """These gradients for some of the outputs."""
        return replace(self, calls=tuple((a, d[outputs]) for a, d in self.calls))

    def compact(self, form: Form) -> Sequence[Factor]:
        """The same gradients written out, where that takes less memory."""
        q, _, g, i, o = self._sizes
        written = q * g * o * (i + (self.bias is not None))
        if self.method(form) != "explicit" or written > self.stored:
            return [self]
        return [Explicit(v, values) for v, values in self.gradients().items()]

    @classmethod
    def concatenate(cls, parts: Sequence["OuterProduct"]) -> "OuterProduct":
        """The gradients of several batches of examples, one after another."""
        calls = []
        for same in zip(*(part.calls for part in parts), strict=True):
            kind = type(same[0][0])
            inputs = kind.concatenate([a for a, _ in same])
            calls.append((inputs, np.concatenate([d for _, d in same], axis=1)))
        return replace(parts[0], calls=tuple(calls))
