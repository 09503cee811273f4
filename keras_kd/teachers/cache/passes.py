"""Passes over the data whose supervision is to be held."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import xxhash

from keras_kd.arguments import check_integer_or_none
from keras_kd.keras_internals import DataAdapter, data_adapter
from keras_kd.teachers.cache.keys import example_keys


class Passes:
    """Data that can be gone through several times, batch by batch.

    Args:
        data: inputs, `(x, y)`, or a data set, as `fit` takes them; with `views`, a
            `keras_kd.datasets.Batches` or a function of the view that gives data.
        views: augmented views of each example, or `None`.
        batch_size: of arrays.

    Attributes:
        views: as above.
        in_order: whether row `i` is example `i` in every pass.

    Raises:
        ValueError: the data augments and `views` is not given, or does not fit; or it
            cannot be gone through twice.
    """

    def __init__(self, data: Any, views: int | None, batch_size: int) -> None:
        if isinstance(data, Iterator):
            raise ValueError(
                "`data` must be arrays or a data set that can be gone through several "
                f"times. Received: data of type {type(data).__name__}, which ends "
                "after one pass."
            )
        if getattr(data, "cardinality", None) is not None and (
            int(data.cardinality()) == -1
        ):
            raise ValueError("`data` must end. Received: a `tf.data` set that repeats.")
        own = getattr(data, "views", None)
        if views is None:
            views = own
        views = check_integer_or_none("views", views, above=0)
        if own is not None and own != views:
            raise ValueError(
                f"`views` must be that of `data`. Received: views={views} for data "
                f"with views={own}"
            )
        if getattr(data, "augment", None) is not None and own is None:
            raise ValueError(
                "`data` augments its images anew in every epoch, which no cache can "
                "hold. Received: views=None. Give the data a number of views, "
                "`Batches(..., augment=..., views=8)`, through which epochs cycle."
            )
        if views is not None and own is None and not _is_function(data):
            raise ValueError(
                "`views` needs data that has views: `keras_kd.datasets.Batches(..., "
                "views=...)`, or a function that gives the data of a view, `data(0)`, "
                f"`data(1)`, .... Received: data of type {type(data).__name__}"
            )
        if _is_function(data) and views is None:
            raise ValueError(
                "`data` given as a function of the view needs `views`, their number. "
                "Received: views=None"
            )
        self.views = views
        self.in_order = _is_arrays(data)
        self._data = data
        self._batch_size = batch_size

    def __repr__(self) -> str:
        return f"data of type {type(self._data).__name__}"

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        """Batches `(inputs, labels)` of NumPy arrays, of all views one by one."""
        before = getattr(self._data, "epoch", None)
        try:
            for view in range(self.views or 1):
                adapter = self._adapter(view)
                if adapter.num_batches is None and isinstance(
                    self._data, keras.utils.PyDataset
                ):
                    raise ValueError(
                        "`data` must end. Received: a `PyDataset` without a length "
                        "(`num_batches` is None), which Keras draws from for ever."
                    )
                adapter.on_epoch_begin()
                for batch in self._batches(adapter):
                    x, y, _ = keras.utils.unpack_x_y_sample_weight(batch)
                    yield keras.tree.map_structure(np.asarray, x), y
                adapter.on_epoch_end()
        finally:
            # A pass is no epoch of the student's.
            if before is not None and hasattr(self._data, "set_epoch"):
                self._data.set_epoch(before)

    def _batches(self, adapter: Any) -> Any:
        try:
            return adapter.get_numpy_iterator()
        except ModuleNotFoundError:
            # Keras 3.12 looks for a part of grain where later releases do not have it.
            return self._data

    def _adapter(self, view: int) -> DataAdapter:
        data = self._data
        if _is_function(data):
            data = data(view)
        elif self.views is not None:
            data.set_epoch(view)
        if isinstance(data, tuple):
            x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
            return data_adapter(x, y, batch_size=self._batch_size)
        arrays = isinstance(data, dict | list) or hasattr(data, "__array__")
        return data_adapter(data, batch_size=self._batch_size if arrays else None)


def _is_arrays(data: Any) -> bool:
    """Whether these are arrays, or a pair of them, whose order is certain."""
    x = data[0] if isinstance(data, tuple) and data else data
    return bool(keras.tree.flatten(x)) and all(
        hasattr(leaf, "__array__") for leaf in keras.tree.flatten(x)
    )


def _is_function(data: Any) -> bool:
    return callable(data) and not isinstance(data, keras.utils.PyDataset)


class Survey:
    """What one pass over the data has shown.

    Args:
        passes: the data.

    Raises:
        ValueError: it holds no examples, or they have several shapes.

    Attributes:
        keys: of all different examples, in the order in which they came, `(n,)`.
        labels: of the same, `(n,)`, or `None` where there are none.
        inputs: structure of `{"shape", "dtype"}` of an example.
        ranges: smallest and largest number of each input.
        first: the first batch of inputs.
        batches: how many there are.
    """

    def __init__(self, passes: Passes) -> None:
        keys, labels = [], []
        self.first: Any = None
        self.batches = 0
        self.ranges: list[tuple[float, float]] = []
        for inputs, y in passes:
            spec = keras.tree.map_structure(_Described, inputs)
            if self.first is None:
                self.first, self.inputs = inputs, spec
            elif keras.tree.flatten(spec) != keras.tree.flatten(self.inputs):
                raise ValueError(
                    "`data` must hold examples of one shape and dtype. Received: "
                    f"{keras.tree.flatten(self.inputs)} and "
                    f"{keras.tree.flatten(spec)}"
                )
            keys.append(example_keys(inputs))
            labels.append(class_labels(y))
            self._widen(inputs)
            self.batches += 1
        if not keys or not sum(map(len, keys)):
            raise ValueError("`data` must hold examples. Received: none")
        every = np.concatenate(keys)
        _, first = np.unique(every, return_index=True)
        order = np.sort(first)
        self.keys = every[order]
        known = [part for part in labels if part is not None]
        self.labels = (
            np.concatenate(known)[order] if len(known) == len(labels) else None
        )

    def fingerprint(self, values: np.ndarray) -> str:
        """Of something of every example, whatever their order."""
        return xxhash.xxh3_128_hexdigest(values[np.argsort(self.keys)].tobytes())

    def _widen(self, inputs: Any) -> None:
        leaves = [np.asarray(leaf) for leaf in keras.tree.flatten(inputs)]
        ranges = self.ranges or [(np.inf, -np.inf)] * len(leaves)
        self.ranges = [
            (min(low, float(leaf.min())), max(high, float(leaf.max())))
            for (low, high), leaf in zip(ranges, leaves, strict=True)
        ]


class _Described:
    """Shape and dtype of one example's input."""

    def __init__(self, array: Any) -> None:
        self.shape, self.dtype = tuple(array.shape[1:]), str(array.dtype)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Described) and (self.shape, self.dtype) == (
            other.shape,
            other.dtype,
        )

    def __repr__(self) -> str:
        return f"{self.shape} {self.dtype}"

    def json(self) -> dict[str, Any]:
        return {"shape": list(self.shape), "dtype": self.dtype}


def class_labels(y: Any) -> np.ndarray | None:
    """Labels as integers `(n,)`: of integers as they are, of one-hot rows the place.

    Returns:
        `None` for what is neither.
    """
    if y is None or keras.tree.is_nested(y):
        return None
    labels: np.ndarray = np.asarray(keras.ops.convert_to_numpy(y))
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 2:
        return np.asarray(labels.argmax(axis=1), np.int64)
    if labels.ndim != 1 or labels.dtype.kind not in "iufb":
        return None
    if labels.dtype.kind == "f" and not np.array_equal(labels, np.round(labels)):
        return None
    return labels.astype(np.int64)
