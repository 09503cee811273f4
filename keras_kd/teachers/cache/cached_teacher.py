"""A cached teacher: what a distiller sees of predictions that are held in files."""

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import keras
import numpy as np

from keras_kd.forward.taps import find_layer
from keras_kd.teachers.cache.mean import CachedMean
from keras_kd.teachers.cache.passes import class_labels
from keras_kd.teachers.cache.stand_in import stand_in
from keras_kd.teachers.cache.structure import from_json
from keras_kd.teachers.cache.supervision_cache import SupervisionCache
from keras_kd.teachers.live import Supervision

# Batches in which labels are compared with those of the cache, and how many examples
# must agree on another order of classes.
_LOOKED_AT = 4
_AGREEING = 4


class Joined(NamedTuple):
    """Inputs of a batch, and what the teacher says of them."""

    inputs: Any
    logits: tuple
    taps: dict[str, Any]


class Clock(Protocol):
    """Which checkpoint supervises which batch."""

    epoch: int
    checkpoint: int | None

    def checkpoint_at(self, epoch: int, batch: int) -> int:
        """The checkpoint of a batch, counted from the beginning of an epoch."""


class _CachedTaps:
    """The tapped layers' outputs of one batch."""

    def __init__(self, outputs: dict[int, Any]):
        self._outputs = outputs

    def output(self, layer) -> Any:
        return self._outputs[id(layer)]


class CachedTeacher:
    """Stands where a live teacher does; its word comes with the batch.

    Args:
        source: `SupervisionCache` or `CachedMean`.
        paths: of the layers that losses tap.

    Raises:
        ValueError: the cache does not hold one of them.
    """

    def __init__(self, source: SupervisionCache | CachedMean, paths: list[str]):
        for path in paths:
            if path not in source.spec.taps:
                raise ValueError(
                    "The supervision cache must hold the layers that losses tap. "
                    f"Received: teacher_layer_name='{path}', and {source} holds "
                    f"{list(source.spec.taps)}. Build it with taps=['{path}']; a mean "
                    "has none."
                )
        self.teacher = source
        self.model = stand_in(source.spec, source.teacher_name)
        self.layers = {path: find_layer(self.model, path) for path in paths}
        self.clock: Clock | None = None
        self.failure: Exception | None = None
        self._looked_at = 0
        self._labels = np.empty((2, 0), np.int64)

    def values(self) -> None:
        """No state: there is no model to run."""

    def check_finite(self) -> None:
        """Nothing: it was when the cache was built."""

    def begin(self) -> None:
        """Forgets the last `fit`."""
        self.clock, self.failure, self._looked_at = None, None, 0
        self._labels = np.empty((2, 0), np.int64)

    def joined(self, inputs, logits, taps) -> Joined:
        """Inputs with what `join` found for them."""
        return Joined(inputs, logits, taps)

    def supervise_batch(self, batch, values=None) -> tuple[Supervision | None, Any]:
        """Takes a joined batch apart: supervision, and the batch as it was."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
        if not isinstance(x, Joined):
            return None, batch
        tensor = keras.ops.convert_to_tensor
        outputs = from_json(
            self.teacher.spec.outputs, lambda position: tensor(x.logits[position])
        )
        taps = {id(layer): tensor(x.taps[path]) for path, layer in self.layers.items()}
        batch = keras.utils.pack_x_y_sample_weight(x.inputs, y, sample_weight)
        return Supervision(outputs, _CachedTaps(taps)), batch

    def checkpoints(self, training: bool) -> Iterator[int]:
        """The stage that supervises each batch of a pass over the data.

        Args:
            training: by the schedule; else by what is in use when the pass begins.
        """
        clock = self.clock
        if clock is None:
            yield from itertools.repeat(-1)
        elif training:
            epoch = clock.epoch
            for batch in itertools.count():
                yield clock.checkpoint_at(epoch, batch)
        else:
            yield from itertools.repeat(
                -1 if clock.checkpoint is None else clock.checkpoint
            )

    def knows(self, inputs) -> bool:
        """Whether every example is in the cache."""
        try:
            self.teacher.rows(inputs)
        except ValueError:
            return False
        return True

    def join(self, inputs, labels, index: int):
        """What the teacher says of a batch: `(logits, taps)`, as `Joined` has them.

        Args:
            inputs: as Keras passes them to a model.
            labels: of the batch, or `None`.
            index: of the stage that supervises.

        Raises:
            ValueError: an example is not in the cache, or the labels are of another
                order of classes.
        """
        try:
            rows: Any = self.teacher.rows(inputs)
            if self._looked_at < _LOOKED_AT:
                self._check_labels(rows, labels)
                self._looked_at += 1
            if isinstance(self.teacher, SupervisionCache):
                index = self.teacher[index].index
            logits, taps = self.teacher.look_up(rows, index)
        except Exception as error:
            # What runs inside a `tf.data` pipeline is told of in many words of its own.
            self.failure = error
            raise
        return logits, {path: taps[path] for path in self.layers}

    def _check_labels(self, rows, labels) -> None:
        known, given = self.teacher.labels(rows), class_labels(labels)
        if known is None or given is None:
            return
        self._labels = np.hstack([self._labels, [known, given]])
        # Labels may differ one by one, where they are noisy. That all examples of each
        # class have the same other label is no noise.
        pairs = np.unique(self._labels, axis=1)
        one_to_one = all(len(np.unique(side)) == pairs.shape[1] for side in pairs)
        examples = np.count_nonzero(self._labels[0] != self._labels[1])
        classes = np.count_nonzero(pairs[0] != pairs[1])
        # Beside the first of each class, which may be anything.
        if one_to_one and examples - classes > _AGREEING:
            k, g = next((int(k), int(g)) for k, g in pairs.T if k != g)
            raise ValueError(
                "The labels must be in the order of classes with which the cache was "
                f"built. Received: label {g} for all examples whose label was {k}."
            )
