"""What a linear layer multiplies by its kernel, at every position.

Each kind gives `(examples, positions, groups, columns)` on demand, for a choice of
columns, because a convolution's patches are many times larger than the images that
they are cut from.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import DTypeLike, NDArray


@dataclass(frozen=True)
class Positions:
    """Vectors, one a position.

    Attributes:
        values: `(m, t, g, i)`.
    """

    values: NDArray[Any]

    def __len__(self) -> int:
        return len(self.values)

    @property
    def positions(self) -> int:
        return int(self.values.shape[1])

    @property
    def size(self) -> int:
        """Columns of one group."""
        return int(self.values.shape[3])

    @property
    def stored(self) -> int:
        """Numbers held for one example."""
        return math.prod(self.values.shape[1:])

    def in_dtype(self, dtype: DTypeLike) -> "Positions":
        return Positions(self.values.astype(dtype, copy=False))

    def take(self, rows: slice) -> "Positions":
        return Positions(self.values[rows])

    def blocks(self, count: int, others: Sequence["Inputs"]) -> list[slice]:
        """All columns in blocks of at most about `count`."""
        return _equal_slices(self.size, count)

    def columns(self, block: Any = None) -> NDArray[Any]:
        """`(m, t, g, columns of the block)`; all of them without a block."""
        return self.values if block is None else self.values[..., block]

    @classmethod
    def concatenate(cls, parts: Sequence["Positions"]) -> "Positions":
        return Positions(np.concatenate([part.values for part in parts]))


@dataclass(frozen=True)
class Geometry:
    """How a convolution cuts patches, one entry a spatial dimension."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class Patches:
    """The patches of images, cut when they are asked for.

    Attributes:
        images: `(m, *spatial, g, c)`: channels in `g` groups of `c`.
        geometry: of the convolution.
    """

    images: NDArray[Any]
    geometry: Geometry

    def __len__(self) -> int:
        return len(self.images)

    @property
    def positions(self) -> int:
        return math.prod(self.geometry.outputs)

    @property
    def size(self) -> int:
        return math.prod(self.geometry.kernel) * int(self.images.shape[-1])

    @property
    def stored(self) -> int:
        return math.prod(self.images.shape[1:])

    def in_dtype(self, dtype: DTypeLike) -> "Patches":
        return Patches(self.images.astype(dtype, copy=False), self.geometry)

    def take(self, rows: slice) -> "Patches":
        return Patches(self.images[rows], self.geometry)

    def blocks(self, count: int, others: Sequence["Inputs"]) -> list[tuple[slice, ...]]:
        # A part of every axis of the kernel and of the channels, whole ones from the
        # last axis on: no patch is cut twice, and what is copied lies together.
        parts = []
        for size in reversed((*self.geometry.kernel, self.images.shape[-1])):
            parts.append(_equal_slices(size, min(size, max(1, count))))
            count //= size
        return list(itertools.product(*reversed(parts)))

    def columns(self, block: Any = None) -> NDArray[Any]:
        shape = self.geometry
        axes = range(1, 1 + len(shape.kernel))
        *offsets, channels = block or [slice(None)] * (1 + len(axes))
        images = self.images[..., channels]
        none = (0, 0)
        if any(pad != none for pad in shape.padding):
            images = np.pad(images, (none, *shape.padding, none, none))
        reach = [
            (k - 1) * d + 1 for k, d in zip(shape.kernel, shape.dilation, strict=True)
        ]
        # (m, *positions, g, c, *reach), of which the strides and the dilation skip.
        windows = sliding_window_view(images, reach, tuple(axes))
        every: Any = slice(None)
        steps = zip(shape.outputs, shape.strides, strict=True)
        kept = (every, *(slice(0, n * s, s) for n, s in steps), every, every)
        windows = windows[kept + tuple(slice(None, None, d) for d in shape.dilation)]
        windows = windows[(every,) * (len(axes) + 3) + tuple(offsets)]
        m, g = len(images), images.shape[-2]
        windows = np.moveaxis(windows, len(axes) + 2, -1)
        return windows.reshape(m, self.positions, g, -1)

    @classmethod
    def concatenate(cls, parts: Sequence["Patches"]) -> "Patches":
        images = np.concatenate([part.images for part in parts])
        return Patches(images, parts[0].geometry)


@dataclass(frozen=True)
class OneHot:
    """Rows of a table, by their numbers.

    Attributes:
        ids: `(m, t)`, integers below `size`.
        size: rows of the table.
        dtype: of the columns.
    """

    ids: NDArray[Any]
    size: int
    dtype: np.dtype[Any]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def positions(self) -> int:
        return int(self.ids.shape[1])

    @property
    def stored(self) -> int:
        return int(self.ids.shape[1])

    def in_dtype(self, dtype: DTypeLike) -> "OneHot":
        return OneHot(self.ids, self.size, np.dtype(dtype))

    def take(self, rows: slice) -> "OneHot":
        return OneHot(self.ids[rows], self.size, self.dtype)

    def blocks(self, count: int, others: Sequence["Inputs"]) -> list[NDArray[Any]]:
        # Only rows of the table that occur have a gradient.
        present = np.unique(np.concatenate([self.ids.ravel(), *_ids(others)]))
        return np.array_split(present, max(1, math.ceil(len(present) / count)))

    def columns(self, block: Any = None) -> NDArray[Any]:
        block = np.arange(self.size) if block is None else block
        return np.asarray(self.ids[:, :, None, None] == block, self.dtype)

    @classmethod
    def concatenate(cls, parts: Sequence["OneHot"]) -> "OneHot":
        ids = np.concatenate([part.ids for part in parts])
        return OneHot(ids, parts[0].size, parts[0].dtype)


def _equal_slices(size: int, largest: int) -> list[slice]:
    edges = np.linspace(0, size, math.ceil(size / largest) + 1).round().astype(int)
    return [slice(int(i), int(j)) for i, j in itertools.pairwise(edges)]


def _ids(others: Sequence[Any]) -> list[NDArray[Any]]:
    return [other.ids.ravel() for other in others]


Inputs: TypeAlias = Positions | Patches | OneHot
