"""Data whose batches carry what the teacher says of them."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

# Keras lets `fit` take an adapter of one's own, and has no public door to the class.
from keras.src.trainers.data_adapters import array_slicing, get_data_adapter
from keras.src.trainers.data_adapters.data_adapter import DataAdapter

from keras_kd.teachers.cache.cached_teacher import CachedTeacher, Joined


class JoinedData(DataAdapter):
    """An adapter around the one that Keras makes of the user's data.

    So shuffling, batches and their order are Keras's. The teacher's word joins each
    batch as it is drawn, by the content of its examples and, online, by the batch's
    number; in a `tf.data` pipeline that is ahead of the step.

    Args:
        teacher: whose word it is.
        training: whether the schedule says which checkpoint supervises a batch.
        x: as in `fit`.
        **kwargs: what else `fit` makes an adapter of.
    """

    def __init__(self, teacher: CachedTeacher, training: bool, x, **kwargs):
        self._teacher = teacher
        self._training = training
        self._inner = get_data_adapter(x, **kwargs)

    def get_numpy_iterator(self):
        return self._joined(self._inner.get_numpy_iterator())

    def get_jax_iterator(self):
        return self._joined(self._inner.get_jax_iterator())

    def get_torch_dataloader(self):
        return _Loader(self._inner.get_torch_dataloader(), self._joined)

    def get_tf_dataset(self):
        # TensorFlow is there, or this would not be asked for.
        from keras_kd.backend.tf_data import join

        teacher = self._teacher
        spec, paths = teacher.teacher.spec, list(teacher.layers)

        def look_up(inputs, labels, checkpoint):
            logits, taps = teacher.join(inputs, labels, checkpoint)
            return [*logits, *(taps[path] for path in paths)]

        def joined(x, found):
            logits = tuple(found[: len(spec.logits)])
            taps = dict(zip(paths, found[len(spec.logits) :], strict=True))
            return teacher.joined(x, logits, taps)

        return join(
            self._inner.get_tf_dataset(),
            lambda: teacher.checkpoints(self._training),
            look_up,
            [*spec.logits, *(spec.taps[path] for path in paths)],
            joined,
            teacher.teacher.has_labels,
        )

    def _joined(self, batches) -> Iterator[Any]:
        checkpoints = self._teacher.checkpoints(self._training)
        # Batches first: the last checkpoint drawn has a batch.
        for batch, index in zip(batches, checkpoints, strict=False):
            x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
            inputs = keras.tree.map_structure(_as_numpy, x)
            joined = Joined(x, *self._teacher.join(inputs, y, index))
            yield keras.utils.pack_x_y_sample_weight(joined, y, sample_weight)

    @property
    def num_batches(self):
        return self._inner.num_batches

    @property
    def batch_size(self):
        return self._inner.batch_size

    @property
    def has_partial_batch(self):
        return self._inner.has_partial_batch

    @property
    def partial_batch_size(self):
        return self._inner.partial_batch_size

    def on_epoch_begin(self):
        self._inner.on_epoch_begin()

    def on_epoch_end(self):
        self._inner.on_epoch_end()


class _Loader:
    """A loader that can be gone through again."""

    def __init__(self, loader, joined):
        self._loader, self._join = loader, joined

    def __iter__(self):
        # Begun at once, as Keras begins it: it draws the order from torch's state.
        return self._join(iter(self._loader))


def _as_numpy(leaf) -> np.ndarray:
    return leaf if isinstance(leaf, np.ndarray) else keras.ops.convert_to_numpy(leaf)


def split_validation(arrays, share: float):
    """The last `share` of the examples for validation, as `fit` splits arrays."""
    return array_slicing.train_validation_split(arrays, validation_split=share)


def joined_if_known(teacher: CachedTeacher, data, batch_size: int | None):
    """Data to evaluate on, joined where it is arrays that the cache holds.

    Args:
        teacher: whose word it is.
        data: `x`, `(x, y)` or `(x, y, sample_weight)`.
        batch_size: as in `evaluate`.

    Returns:
        `JoinedData`, or `data` as they were.
    """
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    leaves = keras.tree.flatten(x)
    if not all(hasattr(leaf, "__array__") for leaf in leaves):
        return data
    if not teacher.knows(keras.tree.map_structure(_as_numpy, x)):
        return data
    return JoinedData(
        teacher, False, x, y=y, sample_weight=sample_weight, batch_size=batch_size
    )
