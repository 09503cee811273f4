"""The examples that a kernel is of: arrays, structures of arrays, or data sets."""

from typing import Any

import keras
import numpy as np
from keras import ops


class Examples:
    """`n` examples held as NumPy arrays.

    Args:
        x: an array `(n, ...)`, a dictionary, tuple or list of such, or anything that
            gives batches when iterated (`tf.data`, `keras.utils.PyDataset`, grain, a
            torch `DataLoader`); of batches `(x, y)` the `x` is taken.
        name: of the argument, for messages.

    Raises:
        ValueError: there are no examples, the arrays disagree about their number, or
            hold NaN or infinity.
    """

    def __init__(self, x: Any, name: str):
        self.name = name
        try:
            arrays = _read(x)
        except ValueError as error:
            raise ValueError(
                f"`{name}` must be arrays of one shape an example. "
                f"Received: {name} of type {type(x).__name__}: {error}"
            ) from error
        self.values = keras.tree.map_structure(_as_numpy, arrays)
        leaves = keras.tree.flatten(self.values)
        if not leaves or any(leaf.ndim == 0 for leaf in leaves):
            raise ValueError(
                f"`{name}` must be arrays with an axis of examples, or a data set. "
                f"Received: {name} of type {type(x).__name__}"
            )
        sizes = {len(leaf) for leaf in leaves}
        if len(sizes) != 1 or 0 in sizes:
            raise ValueError(
                f"The arrays of `{name}` must have the same number of examples, at "
                f"least one. Received: shapes {[leaf.shape for leaf in leaves]}"
            )
        for leaf in leaves:
            if leaf.dtype.kind in "cOmM":
                raise ValueError(
                    f"`{name}` must be real numbers. Received: an array of shape "
                    f"{leaf.shape} and dtype {leaf.dtype}"
                )
            # Narrow floats of other libraries are of no kind of NumPy's.
            if leaf.dtype.kind in "fV" and not np.isfinite(leaf).all():
                raise ValueError(
                    f"`{name}` must be finite. Received: an array of shape "
                    f"{leaf.shape} with NaN or infinity"
                )
        self.n = sizes.pop()

    def batch(self, start: int, stop: int, size: int) -> Any:
        """Tensors of the examples `start` to `stop`, the last repeated up to `size`."""
        rows = np.minimum(np.arange(start, start + size), stop - 1)
        whole = stop - start == size

        def leaf(array: np.ndarray) -> Any:
            chosen = array[start:stop] if whole else array[rows]
            return ops.convert_to_tensor(chosen)

        return keras.tree.map_structure(leaf, self.values)

    def first(self, count: int) -> Any:
        """Tensors of the first `count` examples, repeated if there are fewer."""
        rows = np.arange(count) % self.n
        return keras.tree.map_structure(
            lambda array: ops.convert_to_tensor(array[rows]), self.values
        )

    def signature(self) -> tuple[tuple[tuple[int, ...], str], ...]:
        """Shapes and dtypes of one example."""
        leaves = keras.tree.flatten(self.values)
        return tuple((leaf.shape[1:], str(leaf.dtype)) for leaf in leaves)


def _as_numpy(x: Any) -> np.ndarray:
    array: np.ndarray = x if isinstance(x, np.ndarray) else ops.convert_to_numpy(x)
    return array


def _read(x: Any) -> Any:
    if isinstance(x, dict | tuple):
        return x
    if isinstance(x, list):
        # A list of arrays is a model's several inputs, of numbers one array.
        return x if any(hasattr(item, "shape") for item in x) else np.asarray(x)
    if hasattr(x, "shape") or hasattr(x, "__array__"):
        return x
    if isinstance(x, keras.utils.PyDataset):
        batches = [x[i] for i in range(len(x))]
    elif hasattr(x, "__iter__"):
        batches = list(x)
    else:
        return np.asarray(x)
    if not batches:
        return np.zeros((0, 1))
    parts = [
        keras.tree.map_structure(_as_numpy, keras.utils.unpack_x_y_sample_weight(b)[0])
        for b in batches
    ]
    return keras.tree.map_structure(lambda *same: np.concatenate(same), *parts)
