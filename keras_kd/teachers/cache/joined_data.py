"""Data whose batches carry what the teacher says of them."""

import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import keras
import numpy as np

from keras_kd.keras_internals import DataAdapter, data_adapter


class Joined(NamedTuple):
    """Inputs of a batch, and what the teacher says of them."""

    inputs: Any
    logits: tuple[Any, ...]
    taps: dict[str, Any]


class Words(Protocol):
    """Who is asked what the teacher says."""

    def stages(self, training: bool) -> Iterator[int]:
        """The stage that supervises each batch of a pass over the data."""

    def view(self, inputs: Any) -> Any:
        """What the teacher sees of inputs that may hold the student's view too."""

    def look_up(
        self, inputs: Any, labels: Any, stage: int
    ) -> tuple[tuple[np.ndarray, ...], dict[str, np.ndarray]]:
        """The logits of each output, and what each tapped layer gave."""

    @property
    def shapes(self) -> tuple[Sequence[tuple[int, ...]], dict[str, tuple[int, ...]]]:
        """Of one example, in the same form."""

    @property
    def compares_labels(self) -> bool:
        """Whether `look_up` makes use of labels."""


class JoinedData(DataAdapter):
    """An adapter around the one that Keras makes of the user's data.

    So shuffling, batches and their order are Keras's. The teacher's word joins each
    batch as it is drawn, by the content of its examples and, online, by the batch's
    number; in a `tf.data` pipeline that is ahead of the step.

    Args:
        words: of the teacher.
        training: whether the schedule says which stage supervises a batch.
        x: as in `fit`.
        **kwargs: what else `fit` makes an adapter of.
    """

    def __init__(self, words: Words, training: bool, x: Any, **kwargs: Any):
        self._words = words
        self._training = training
        self._inner = data_adapter(x, **kwargs)

    def get_numpy_iterator(self) -> Iterator[Any]:
        return self._joined(self._inner.get_numpy_iterator())

    def get_jax_iterator(self) -> Iterator[Any]:
        return self._joined(self._inner.get_jax_iterator())

    def get_torch_dataloader(self) -> Any:
        return _Loader(self._inner.get_torch_dataloader(), self._joined)

    def get_tf_dataset(self) -> Any:
        # TensorFlow is there, or this would not be asked for.
        from keras_kd.backend.tf_data import join

        # TensorFlow keeps the functions of a pipeline for good; the words, and the
        # distiller with them, are not to stay for that.
        words, training = weakref.proxy(self._words), self._training
        logits, taps = words.shapes

        def look_up(inputs: Any, labels: Any, stage: int) -> list[np.ndarray]:
            found, tapped = words.look_up(inputs, labels, stage)
            return [*found, *(tapped[path] for path in taps)]

        def joined(x: Any, found: list[Any]) -> Joined:
            tapped = dict(zip(taps, found[len(logits) :], strict=True))
            return Joined(x, tuple(found[: len(logits)]), tapped)

        return join(
            self._inner.get_tf_dataset(),
            lambda: words.stages(training),
            look_up,
            [*logits, *taps.values()],
            joined,
            words.compares_labels,
            lambda inputs: words.view(inputs),
        )

    def _joined(self, batches: Any) -> Iterator[Any]:
        # Batches first: the last stage drawn has a batch.
        for batch, stage in zip(
            batches, self._words.stages(self._training), strict=False
        ):
            x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
            found = self._words.look_up(as_numpy(self._words.view(x)), y, stage)
            joined = Joined(x, *found)
            yield keras.utils.pack_x_y_sample_weight(joined, y, sample_weight)

    @property
    def num_batches(self) -> Any:
        return self._inner.num_batches

    @property
    def batch_size(self) -> Any:
        return self._inner.batch_size

    @property
    def has_partial_batch(self) -> Any:
        return self._inner.has_partial_batch

    @property
    def partial_batch_size(self) -> Any:
        return self._inner.partial_batch_size

    def on_epoch_begin(self) -> None:
        self._inner.on_epoch_begin()

    def on_epoch_end(self) -> None:
        self._inner.on_epoch_end()


class _Loader:
    """A loader that can be gone through again."""

    def __init__(self, loader: Any, joined: Callable[[Any], Iterator[Any]]):
        self._loader, self._join = loader, joined

    def __iter__(self) -> Iterator[Any]:
        # Begun at once, as Keras begins it: it draws the order from torch's state.
        return self._join(iter(self._loader))


def as_numpy(inputs: Any) -> Any:
    """A structure of arrays, of tensors or arrays."""
    return keras.tree.map_structure(
        lambda leaf: (
            leaf if isinstance(leaf, np.ndarray) else keras.ops.convert_to_numpy(leaf)
        ),
        inputs,
    )
