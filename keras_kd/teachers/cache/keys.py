"""Keys of examples: what tells one example from another, whatever their order."""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import xxhash

# Before the content of examples that count by 64 bits.
_WIDE = b"64 bits"


def example_keys(inputs: Any, bits: int = 64) -> np.ndarray:
    """A 64-bit number for each example, of its content alone.

    Equal examples have equal keys in any order, any batch and any process. Floating
    types count as float32 and integers as 32 bits, as Keras converts them on the way
    to a model; but an example with an integer that 32 bits do not hold counts by all
    of them, and so does one with a float64 that float32 does not hold where
    `keras.config.floatx()` is `"float64"`. Two different examples of a million have the
    same key with a probability of 3e-8.

    Args:
        inputs: array `(n, ...)` or a structure of such.
        bits: 64, or 32 for caches that tell examples apart by the first 32 bits alone.

    Returns:
        `(n,)` uint64.

    Raises:
        ValueError: an input holds no numbers.

    Example:

    >>> import numpy as np
    >>> x = np.arange(6.0).reshape(3, 2)
    >>> print(np.array_equal(example_keys(x)[::-1], example_keys(x[::-1])))
    True
    """
    arrays = [np.asarray(leaf) for leaf in keras.tree.flatten(inputs)]
    leaves = [_bytes(array, counted_as(array.dtype)) for array in arrays]
    n = len(leaves[0])
    if len(leaves) == 1:
        digests = (xxhash.xxh3_64_intdigest(row) for row in leaves[0])
    else:
        digests = (_digest(rows) for rows in zip(*leaves, strict=True))
    keys = np.fromiter(digests, np.uint64, n)
    if bits == 64 and len(wide := _wide_rows(arrays)):
        whole = [_bytes(array[wide], array.dtype) for array in arrays]
        keys[wide] = [_digest([_WIDE, *rows]) for rows in zip(*whole, strict=True)]
    return keys


def _wide_rows(arrays: list[np.ndarray]) -> np.ndarray:
    """Examples with a number that 32 bits do not hold, `(m,)`."""
    is_wide = np.zeros(len(arrays[0]), bool)
    kinds = "iuf" if keras.config.floatx() == "float64" else "iu"
    for array in arrays:
        if array.dtype.kind in kinds and array.dtype.itemsize > 4:
            with np.errstate(over="ignore"):
                narrow = array.astype(counted_as(array.dtype)).astype(array.dtype)
            # NaN is held, and equals nothing.
            differs = (narrow != array) & (array == array)
            is_wide |= differs.reshape(len(array), -1).any(axis=1)
    return np.flatnonzero(is_wide)


def _digest(rows: Iterable[Any]) -> int:
    state = xxhash.xxh3_64()
    for row in rows:
        state.update(row)
    return state.intdigest()


def counted_as(dtype: Any) -> np.dtype:
    """The type as which inputs of a type count.

    Raises:
        ValueError: it is of no numbers.
    """
    dtype = np.dtype(dtype)
    if dtype.kind == "b" or dtype == np.uint8:
        return np.dtype(np.uint8)
    if dtype.kind in "iu":
        return np.dtype(np.int32)
    # bfloat16 is of no kind that NumPy knows.
    if dtype.kind not in "fV":
        raise ValueError(
            "A supervision cache knows examples by their numbers. Received: inputs of "
            f"dtype {dtype}"
        )
    return np.dtype(np.float32)


def _bytes(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    array = np.ascontiguousarray(array.astype(dtype, copy=False))
    return array.reshape(len(array), -1).view(np.uint8)


class RowsByKey:
    """Where in a cache an example is.

    Args:
        keys: of all examples, `(n,)` uint64, different.
    """

    def __init__(self, keys: np.ndarray) -> None:
        self._order = np.argsort(keys)
        self._sorted = keys[self._order]

    def find(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows `(m,)`, and whether each was found, `(m,)`."""
        places = np.minimum(np.searchsorted(self._sorted, keys), len(self._sorted) - 1)
        return self._order[places], self._sorted[places] == keys
