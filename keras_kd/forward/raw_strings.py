"""Strings, as models that bring their own `preprocessor` take them (KerasHub's tasks).

A model's word is its method `preprocess_samples(x, y, sample_weight)` where it has one,
as a KerasHub `Task`, else its `preprocessor(x)`.
"""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

# Examples of arrays that are preprocessed at a time.
_ROWS = 1024


def holds_strings(x: Any) -> bool:
    """Whether inputs, or a data set's, are strings, as far as it can be seen."""
    if isinstance(x, keras.utils.PyDataset):
        x = keras.utils.unpack_x_y_sample_weight(x[0])[0]
    elif hasattr(x, "element_spec"):
        x = keras.utils.unpack_x_y_sample_weight(x.element_spec)[0]
    return any(map(_is_strings, keras.tree.flatten(x)))


def _is_strings(leaf: Any) -> bool:
    if isinstance(leaf, str | bytes):
        return True
    dtype = getattr(leaf, "dtype", None)
    if isinstance(dtype, np.dtype):
        looked_at = leaf.flat[0] if dtype.kind == "O" and leaf.size else None
        return dtype.kind in "US" or isinstance(looked_at, str | bytes)
    return "string" in str(dtype)


def as_numbers(data: tuple[Any, ...], models: Mapping[str, Any]) -> tuple[Any, ...]:
    """`(x, y, sample_weight)` as models take them, where `x` holds strings.

    Args:
        data: `x` arrays or lists of strings, a `tf.data` set, or a `PyDataset`.
        models: by their roles, `"student"` the last: its labels are those that count.

    Returns:
        `x` for a single model or several with one preprocessor; for others a dictionary
        by their roles. What holds no strings is as it was.

    Raises:
        ValueError: a model has no `preprocessor`, or the data are of another kind.
    """
    x, y, sample_weight = data
    if not holds_strings(x):
        return data
    prepare = _preparing(models)
    if hasattr(x, "element_spec"):
        mapped = x.map(lambda *batch: prepare(*batch))
        return mapped, y, sample_weight
    if isinstance(x, keras.utils.PyDataset):
        return _Prepared(x, prepare), y, sample_weight
    arrays = _as_arrays(x)
    rows = len(keras.tree.flatten(arrays)[0])
    # A text may be longer than NumPy's fixed width would hold.
    parts = []
    for start in range(0, rows, _ROWS):
        part = slice(start, start + _ROWS)
        batch = keras.tree.map_structure(
            lambda leaf, part=part: None if leaf is None else leaf[part],
            (arrays, y, sample_weight),
        )
        whole = keras.utils.unpack_x_y_sample_weight(prepare(*batch))
        parts.append(keras.tree.map_structure(_as_numpy, whole))
    joined: tuple[Any, ...] = keras.tree.map_structure(
        lambda *leaves: None if leaves[0] is None else np.concatenate(leaves), *parts
    )
    return joined


def _preparing(models: Mapping[str, Any]) -> Callable[..., Any]:
    for role, model in models.items():
        if getattr(model, "preprocessor", None) is None:
            raise ValueError(
                f"`{role}` must have a `preprocessor` for inputs that are strings, as "
                "KerasHub's tasks have. Received: strings, and model "
                f"'{getattr(model, 'name', model)}' without one."
            )
    shared = len({id(model.preprocessor) for model in models.values()}) == 1

    def prepare(x: Any, y: Any = None, sample_weight: Any = None) -> Any:
        views: dict[str, Any] = {}
        for role, model in models.items():
            if not (shared and views):
                batch = _preprocessed(model, x, y, sample_weight)
                views[role], *labels = keras.utils.unpack_x_y_sample_weight(batch)
        view = next(iter(views.values())) if len(views) == 1 else views
        return keras.utils.pack_x_y_sample_weight(view, *labels)

    return prepare


def _preprocessed(model: Any, x: Any, y: Any, sample_weight: Any) -> Any:
    if hasattr(model, "preprocess_samples"):
        return model.preprocess_samples(x, y, sample_weight)
    return keras.utils.pack_x_y_sample_weight(model.preprocessor(x), y, sample_weight)


def _as_arrays(x: Any) -> Any:
    """A structure of arrays: a list of strings is one of them."""
    if isinstance(x, Mapping):
        return {key: _as_arrays(value) for key, value in x.items()}
    if isinstance(x, tuple):
        return tuple(map(_as_arrays, x))
    if isinstance(x, list) and x and not isinstance(x[0], str | bytes):
        return [_as_arrays(value) for value in x]
    return np.asarray(x, dtype=object) if isinstance(x, list) else x


def _as_numpy(leaf: Any) -> Any:
    return None if leaf is None else np.asarray(leaf)


class _Prepared(keras.utils.PyDataset):
    """A data set, each of its batches preprocessed when it is drawn."""

    def __init__(self, data: Any, prepare: Callable[..., Any]):
        super().__init__(
            workers=data.workers,
            use_multiprocessing=data.use_multiprocessing,
            max_queue_size=data.max_queue_size,
        )
        self._data, self._prepare = data, prepare

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, index: int) -> Any:
        batch = self._prepare(*keras.utils.unpack_x_y_sample_weight(self._data[index]))
        whole = keras.utils.unpack_x_y_sample_weight(batch)
        return keras.utils.pack_x_y_sample_weight(
            *keras.tree.map_structure(_as_numpy, whole)
        )

    def on_epoch_begin(self) -> None:
        self._data.on_epoch_begin()

    def on_epoch_end(self) -> None:
        self._data.on_epoch_end()
