"""Where a kernel's blocks go: memory, the caller's array, or a file that resumes."""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from keras_kd.ntk.block_record import BlockRecord, checksum, origin_of
from keras_kd.ntk.jacobian import FactoredJacobian
from keras_kd.ntk.out_file import hold, make, opened, record_of, reserve

Out: TypeAlias = NDArray[Any] | str | os.PathLike[str] | None


class BlockFile:
    """The kernel's array, and which of its blocks are done.

    A context: a file is held in it, and nobody else writes it.

    Args:
        out: `None`, an array, or a path of a `.npy` file; see `check_out`.
        shape: of the kernel.
        dtype: of the kernel.
        left: rows.
        right: columns; `None`: symmetric.
        block: examples a block; a file that was begun keeps its own.

    Raises:
        ValueError: `out` has another shape or dtype, is not what was begun, or was
            begun with another version, model, weights, examples or options.
        BlockingIOError: somebody else writes the file.
        OSError: the disk is full.
    """

    def __init__(
        self,
        out: Out,
        shape: tuple[int, ...],
        dtype: DTypeLike,
        left: FactoredJacobian,
        right: FactoredJacobian | None,
        block: int,
    ) -> None:
        self.block = block
        self.symmetric = right is None
        self.array: NDArray[Any] | None = None
        self._shape, self._dtype = shape, np.dtype(dtype)
        self._done: set[tuple[int, int]] = set()
        self._record: BlockRecord | None = None
        self._lock = None
        if isinstance(out, np.ndarray):
            if out.shape != shape or out.dtype != self._dtype:
                raise ValueError(
                    f"`out` must have shape {shape} and dtype {self._dtype}. Received: "
                    f"shape {out.shape} and dtype {out.dtype}"
                )
            self.array = out
        if out is None or (path := record_of(out)) is None:
            return
        place = Path(str(getattr(out, "filename", out)))
        self._lock = hold(place)
        try:
            origin = origin_of(left, right, shape, self._dtype)
            self._record = BlockRecord(path, origin, block)
            self._open(place, path)
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            self._lock.release()

    def _open(self, place: Path, path: Path) -> None:
        assert self._record is not None
        is_new = self.array is None and place.stat().st_size == 0
        if path.exists() and not is_new:
            self._record.read(f"out={str(place)!r}", max(self._shape[:2]))
            self.block = self._record.block
        elif not is_new and self.array is None:
            raise ValueError(
                "`out` must be a new file, or one that was begun here. Received: "
                f"out={str(place)!r}, a file without a record of what it holds"
            )
        if is_new:
            # First, so that no file is there of which nothing is known.
            self._record.write()
            self.array = make(place, self._shape, self._dtype)
        elif self.array is None:
            self.array = opened(place, self._shape, self._dtype)
        else:
            reserve(place)
        self._verify(place)

    def _verify(self, place: Path) -> None:
        """Has what is not as it was written computed again."""
        assert self._record is not None
        recorded = self._record.sums
        whole = {
            key: said for key, said in recorded.items() if self._checksum(key) == said
        }
        if len(whole) < len(recorded):
            warnings.warn(
                f"{len(recorded) - len(whole)} of {len(recorded)} blocks in "
                f"'{place}' are not as they were written: the file was damaged, or "
                "made anew. They are computed again.",
                stacklevel=4,
            )
        self._record.sums = whole
        self._done = set(whole)

    def _checksum(self, key: tuple[int, int]) -> str:
        assert self.array is not None
        i, j = (
            slice(k, min(k + self.block, n))
            for k, n in zip(key, self._shape[:2], strict=True)
        )
        block = self.array[i, j]
        if self.symmetric and i != j:
            mirrored = self.array[j, i].transpose(_mirror(block.ndim))
            if not np.array_equal(block, mirrored):
                return ""
        return checksum(block)

    def is_done(self, i: slice, j: slice) -> bool:
        """Whether the block was written, by this run or by one that was stopped."""
        return (i.start, j.start) in self._done

    def write(self, i: slice, j: slice, block: NDArray[Any]) -> None:
        """Puts a block, and its mirror image, where they belong."""
        if self.array is None and block.shape == self._shape:
            # One block is all there is.
            self.array = block
            return
        if self.array is None:
            self.array = np.zeros(self._shape, self._dtype)
        self.array[i, j] = block
        if self.symmetric and i != j:
            self.array[j, i] = block.transpose(_mirror(block.ndim))
        self._done.add((i.start, j.start))
        if self._record is not None:
            if isinstance(self.array, np.memmap):
                self.array.flush()
            self._record.sums[i.start, j.start] = checksum(block)
            self._record.write()

    def finish(self) -> NDArray[Any]:
        """The whole kernel."""
        assert self.array is not None
        return self.array


def _mirror(rank: int) -> Sequence[int]:
    # Of a full kernel the outputs change places too.
    return (1, 0, 3, 2) if rank == 4 else (1, 0, *range(2, rank))
