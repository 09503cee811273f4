"""Checksums of the blocks of a cache's arrays, compared when a block is first read."""

from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from keras_kd.files import sha256
from keras_kd.teachers.cache.files import AGAIN, BLOCKS_NAME, Arrays, map_array, save

BLOCK_BYTES = 2**16


class CheckedArray:
    """A mapped array that is read by rows, and is what was written or is refused.

    A block is compared with its checksum once, when a row of it is first asked for.

    Args:
        path: of its file.
        array: `(n, ...)`, mapped.
        rows: examples a block.
        sums: of the blocks, uint64; `None` where there are none to compare with.
    """

    def __init__(
        self, path: Path, array: np.ndarray, rows: int, sums: np.ndarray | None
    ) -> None:
        self._path, self._rows, self._sums = path, rows, sums
        # Without what a memmap does on every access.
        self._array = np.asarray(array)
        # Empty once nothing is left to compare.
        self._left = np.ones(0 if sums is None else len(sums), bool)

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Some rows.

        Raises:
            ValueError: a block that holds one was altered; the message names the file.
        """
        left = self._left  # another thread may put an empty one in its place
        if len(left):
            every = np.arange(len(self._array)) if isinstance(rows, slice) else rows
            self._compare(np.unique(np.asarray(every) // self._rows), left)
        return np.asarray(self._array[rows])

    def _compare(self, blocks: np.ndarray, left: np.ndarray) -> None:
        assert self._sums is not None
        for block in blocks[left[blocks]]:
            start = int(block) * self._rows
            stop = min(start + self._rows, len(self._array))
            if checksum(self._array[start:stop]) != self._sums[block]:
                raise ValueError(
                    f"{self._path} was altered: examples {start} to {stop - 1} are not "
                    f"what was written. {AGAIN}"
                )
            left[block] = False
        if not left.any():
            self._left = left[:0]


def checksum(block: np.ndarray) -> int:
    """Of the bytes of some rows."""
    return xxhash.xxh3_64_intdigest(np.ascontiguousarray(block).view(np.uint8).data)


def rows_a_block(shape: tuple[int, ...], dtype: str, block_bytes: int) -> int:
    """How many examples of an array, `(n, ...)`, one checksum is of."""
    row = np.dtype(dtype).itemsize
    for length in shape[1:]:
        row *= length
    return max(1, block_bytes // max(1, row))


def write_blocks(folder: Path, arrays: Arrays, block_bytes: int) -> None:
    """Writes the checksums of all arrays in a folder, one after the other.

    Args:
        folder: of the cache.
        arrays: shape and dtype of the array in each file.
        block_bytes: about how many bytes a checksum is of.
    """
    sums = []
    for name, (shape, dtype) in arrays.items():
        array = map_array(folder / name, shape, dtype)
        rows = rows_a_block(shape, dtype, block_bytes)
        sums += [checksum(array[i : i + rows]) for i in range(0, len(array), rows)]
    save(folder / BLOCKS_NAME, np.array(sums, np.uint64))


def checked_arrays(
    folder: Path, arrays: Arrays, block_bytes: int | None, sums_sha256: str | None
) -> dict[str, CheckedArray]:
    """All arrays of a cache, mapped at once: one put in its place is not mixed with it.

    Args:
        folder: of the cache.
        arrays: shape and dtype of the array in each file.
        block_bytes: as the manifest says it; `None`: there are no checksums.
        sums_sha256: of the file that holds the checksums.

    Raises:
        FileNotFoundError: one is missing.
        ValueError: one does not fit, or the checksums were altered; names the file.
    """
    size = block_bytes or BLOCK_BYTES
    rows = {name: rows_a_block(*array, size) for name, array in arrays.items()}
    blocks = {name: -(-arrays[name][0][0] // rows[name]) for name in arrays}
    mapped = {name: map_array(folder / name, *array) for name, array in arrays.items()}
    sums: np.ndarray | None = None
    if block_bytes is not None:
        path = folder / BLOCKS_NAME
        sums = np.array(map_array(path, (sum(blocks.values()),), "uint64"))
        if sha256(path) != sums_sha256:
            raise ValueError(f"{path} was altered: its SHA-256 is another. {AGAIN}")
    checked, start = {}, 0
    for name, array in mapped.items():
        stop = start + blocks[name]
        own = None if sums is None else sums[start:stop]
        checked[name] = CheckedArray(folder / name, array, rows[name], own)
        start = stop
    return checked
