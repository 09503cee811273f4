"""One block of a kernel, to which layers add."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from keras_kd.ntk.factors import blas

# Sums over the outputs, keeps a matrix for each, or every pair of outputs.
Form: TypeAlias = Literal["trace", "per_output", "full"]
FORMS: tuple[Form, ...] = ("trace", "per_output", "full")
# An array and the one beside it, on the other side of the kernel.
_Pair: TypeAlias = Sequence[NDArray[Any]]
_Inputs: TypeAlias = Sequence[NDArray[Any] | None]

# Pairs of positions are worked off in pieces of so many numbers.
_PIECE = 1 << 24

# A triangle is reflected in stripes, so that no second matrix is needed.
_STRIPE = 1024


class Accumulator:
    """The sum, over layers, of `J J'^T` for two groups of examples.

    Args:
        form: `"trace"` sums over the outputs, `"per_output"` keeps a matrix for each,
            `"full"` every pair of outputs.
        outputs: their number, `q`.
        rows: number of examples of the left group.
        columns: of the right group; `None`: the same group, of which only the lower
            triangle is computed.
        dtype: of the sums.
    """

    def __init__(
        self,
        form: Form,
        outputs: int,
        rows: int,
        columns: int | None,
        dtype: DTypeLike,
    ) -> None:
        self.form = form
        self.outputs = outputs
        self.rows = rows
        self.symmetric = columns is None
        self.columns = rows if columns is None else columns
        self._buffers: dict[str, NDArray[Any]] = {}
        width = outputs if form == "full" else 1
        count = outputs if form == "per_output" else 1
        # One matrix a kernel, in the order that BLAS adds to in place.
        self._totals = [
            np.zeros((width * rows, width * self.columns), dtype, order="F")
            for _ in range(count)
        ]

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._totals[0].dtype

    def workspace(
        self, side: str
    ) -> Callable[[tuple[int, ...], DTypeLike], NDArray[Any]]:
        """A function like `np.empty`, which gives the same memory again and again.

        Memory that is new costs as much as what is written to it.
        """

        def empty(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
            size = math.prod(shape)
            buffer = self._buffers.get(side)
            if buffer is None or buffer.size < size or buffer.dtype != dtype:
                self._buffers[side] = buffer = np.empty(size, dtype)
            return buffer[:size].reshape(shape)

        return empty

    def _matrices(self, features: NDArray[Any]) -> list[tuple[int, NDArray[Any]]]:
        """Features `(q, m, p)` as the matrices whose products are summed, each with
        the total that it goes to."""
        features = np.ascontiguousarray(features, self.dtype)
        if self.form == "full":
            return [(0, features.reshape(-1, features.shape[-1]))]
        keep = self.form == "per_output"
        return [(o if keep else 0, rows) for o, rows in enumerate(features)]

    def add_features(
        self, left: NDArray[Any], right: NDArray[Any] | None = None
    ) -> None:
        """Adds the products of explicit gradients.

        Args:
            left: `(q, rows, p)`, gradients of each output with respect to `p` weights.
            right: `(q, columns, p)`; left out where the block is symmetric.
        """
        lefts = self._matrices(left)
        if right is None:
            for total, rows in lefts:
                blas.add_gram(self._totals[total], rows)
            return
        for (total, rows), (_, columns) in zip(
            lefts, self._matrices(right), strict=True
        ):
            blas.add_product(self._totals[total], rows, columns)

    def _products(self, left: NDArray[Any], right: NDArray[Any]) -> NDArray[Any]:
        """`left @ right.T`, of which the lower triangle counts where symmetric."""
        total = np.zeros((len(left), len(right)), self.dtype, order="F")
        if self.symmetric:
            blas.add_gram(total, np.ascontiguousarray(left, self.dtype))
        else:
            blas.add_product(
                total,
                np.ascontiguousarray(left, self.dtype),
                np.ascontiguousarray(right, self.dtype),
            )
        return total

    def add_outer(self, inputs: _Inputs, cotangents: _Pair, bias: bool) -> None:
        r"""Adds `(A A'^T + 1) * (D D'^T)`, for gradients that are one outer product.

        Args:
            inputs: the pair `A`, `A'`, `(rows, i)` and `(columns, i)`, or a pair of
                `None` for a bias alone.
            cotangents: the pair `D`, `D'`, `(q, rows, o)` and `(q, columns, o)`.
            bias: whether there is one, the 1 of the formula.
        """
        if self.form == "full":
            self._add_outer_of_all_pairs(inputs, cotangents, bias)
            return
        sums = self._paired(cotangents[0])
        others = sums if self.symmetric else self._paired(cotangents[1])
        a = b = None
        if inputs[0] is not None:
            a = b = self._rows(inputs[0])
            if not self.symmetric and inputs[1] is not None:
                b = self._rows(inputs[1])
        tiles: Iterable[tuple[slice, slice]] = blas.triangle(self.rows)
        if not self.symmetric:
            whole = slice(0, self.rows)
            tiles = ((panel, whole) for panel in blas.panels(self.columns))
        # Tile by tile, so that what is multiplied is still in the cache.
        for j, i in tiles:
            common = None
            if a is not None and b is not None:
                common = b[j] @ a[i].T
                if bias:
                    common += 1
            for (total, left), (_, right) in zip(sums, others, strict=True):
                product = right[j] @ left[i].T
                if common is not None:
                    product *= common
                self._totals[total].T[j, i] += product

    def _rows(self, x: NDArray[Any]) -> NDArray[Any]:
        return np.ascontiguousarray(x, self.dtype)

    def _add_outer_of_all_pairs(
        self, inputs: _Inputs, cotangents: _Pair, bias: bool
    ) -> None:
        a, b = inputs
        d, e = (x.reshape(-1, x.shape[-1]) for x in cotangents)
        product = self._products(d, e)
        if a is not None and b is not None:
            common = self._products(a, b)
            if bias:
                common += 1
            self._times(product, common)
        self._totals[0] += product

    def _times(self, product: NDArray[Any], common: NDArray[Any]) -> None:
        q, m, n = self.outputs, self.rows, self.columns
        for o in range(q):
            for p in range(q):
                product[o * m : (o + 1) * m, p * n : (p + 1) * n] *= (
                    common if o == p or not self.symmetric else _mirrored(common)
                )

    def _paired(self, d: NDArray[Any]) -> list[tuple[int, NDArray[Any]]]:
        """The matrices whose products are summed, and the totals that they go to."""
        if self.form == "per_output":
            return [(o, self._rows(rows)) for o, rows in enumerate(d)]
        # Side by side, so that one product sums over the outputs.
        return [(0, self._rows(np.moveaxis(d, 0, 1).reshape(d.shape[1], -1)))]

    def add_pairs(self, inputs: _Inputs, cotangents: _Pair, bias: bool) -> None:
        r"""Adds `sum_{t,s} (a_t . a'_s + 1) (d_t . d'_s)`, never forming a gradient.

        Args:
            inputs: the pair `(rows, t, i)`, `(columns, s, i)`, or a pair of `None`.
            cotangents: the pair `(q, rows, t, o)`, `(q, columns, s, o)`.
            bias: whether there is one, the 1 of the formula.
        """
        a, b = inputs
        d, e = cotangents
        t, s = d.shape[2], e.shape[2]
        step = max(1, int(np.sqrt(_PIECE / (t * s))))
        # Below the diagonal of the full kernel lie all pairs of examples.
        half = self.symmetric and self.form != "full"
        for i in range(0, self.rows, step):
            for j in range(0, i + 1 if half else self.columns, step):
                left, right = slice(i, i + step), slice(j, min(j + step, self.columns))
                common = None
                if a is not None and b is not None:
                    common = _flat(a[left], self.dtype) @ _flat(b[right], self.dtype).T
                    if bias:
                        common += 1
                self._add_piece(left, right, common, d[:, left], e[:, right])

    def _add_piece(
        self,
        left: slice,
        right: slice,
        common: NDArray[Any] | None,
        d: NDArray[Any],
        e: NDArray[Any],
    ) -> None:
        def summed(p: NDArray[Any], q: NDArray[Any]) -> NDArray[Any]:
            m, n = p.shape[0], q.shape[0]
            product = _flat(p, self.dtype) @ _flat(q, self.dtype).T
            if common is not None:
                product *= common
            return np.asarray(product.reshape(m, p.shape[1], n, q.shape[1]).sum((1, 3)))

        if self.form == "full":
            for o in range(self.outputs):
                for other in range(self.outputs):
                    rows = slice(o * self.rows + left.start, None)
                    columns = slice(other * self.columns + right.start, None)
                    piece = summed(d[o], e[other])
                    view = self._totals[0][rows, columns]
                    view[: piece.shape[0], : piece.shape[1]] += piece
            return
        if self.form == "per_output":
            for o in range(self.outputs):
                self._totals[o][left, right] += summed(d[o], e[o])
            return
        # The outputs side by side in the contraction: one product for all of them.
        p = np.moveaxis(d, 0, 2).reshape(*d.shape[1:3], -1)
        q = np.moveaxis(e, 0, 2).reshape(*e.shape[1:3], -1)
        self._totals[0][left, right] += summed(p, q)

    def result(self) -> NDArray[Any]:
        """`(rows, columns)`, `(rows, columns, q)` or `(rows, columns, q, q)`."""
        if self.symmetric:
            totals = [_mirrored(total) for total in self._totals]
        else:
            totals = self._totals
        if self.form == "trace":
            return np.ascontiguousarray(totals[0])
        if self.form == "per_output":
            return np.stack(totals, -1)
        q = self.outputs
        full = totals[0].reshape(q, self.rows, q, self.columns)
        return np.ascontiguousarray(full.transpose(1, 3, 0, 2))


def _mirrored(total: NDArray[Any]) -> NDArray[Any]:
    """The lower triangle and its reflection, in place: exactly symmetric."""
    for i in range(0, len(total), _STRIPE):
        stripe = slice(i, i + _STRIPE)
        rest = slice(i + _STRIPE, None)
        lower = np.tril(total[stripe, stripe])
        total[stripe, stripe] = lower + np.tril(lower, -1).T
        total[stripe, rest] = total[rest, stripe].T
    # The same numbers, in the order that NumPy users expect.
    return total.T


def _flat(x: NDArray[Any], dtype: DTypeLike) -> NDArray[Any]:
    return np.ascontiguousarray(x.reshape(-1, x.shape[-1]), dtype)
