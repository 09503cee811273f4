"""A cached teacher: what a distiller sees of predictions that are held in files."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_kd.forward import find_layer, view_of
from keras_kd.keras_internals import split_for_validation
from keras_kd.outputs import Kind, kind_named, kind_of_classes
from keras_kd.teachers.cache.joined_data import Joined, JoinedData, as_numpy
from keras_kd.teachers.cache.mean import CachedMean
from keras_kd.teachers.cache.passes import class_labels
from keras_kd.teachers.cache.placeholder import placeholder_for
from keras_kd.teachers.cache.structure import from_json
from keras_kd.teachers.cache.supervision_cache import SupervisionCache
from keras_kd.teachers.supervision import Clock, Supervision

# Batches in which labels are compared with those of the cache, and how many examples
# must agree on another order of classes.
_LOOKED_AT = 4
_AGREEING = 4


class _CachedTaps:
    """The tapped layers' outputs of one batch."""

    def __init__(self, outputs: dict[int, Any]):
        self._outputs = outputs

    def output(self, layer: Any) -> Any:
        return self._outputs[id(layer)]


class CachedTeacher:
    """Stands where a live teacher does; its word comes with the batch.

    Args:
        source: `SupervisionCache` or `CachedMean`.
        paths: of the layers that losses tap.

    Raises:
        ValueError: the cache does not hold one of them.
    """

    form = "logits"

    def __init__(self, source: SupervisionCache | CachedMean, paths: list[str]):
        for path in paths:
            if path not in source.spec.taps:
                raise ValueError(
                    "The supervision cache must hold the layers that losses tap. "
                    f"Received: teacher_layer_name='{path}', and {source} holds "
                    f"{list(source.spec.taps)}. Build it with taps=['{path}']; a mean "
                    "has none."
                )
        self.teacher: Any = source
        self.model = placeholder_for(source.spec, source.teacher_name)
        self.layers: Mapping[str, keras.layers.Layer] = {
            path: find_layer(self.model, path) for path in paths
        }
        self._clock: Clock | None = None
        self._failure: Exception | None = None
        self._looked_at = 0
        self._labels = np.empty((2, 0), np.int64)

    # What a distiller asks of whoever supervises

    def output_kinds(self, names: list[str]) -> list[Kind | None]:
        """What was known of the teacher's outputs when the cache was built."""
        known = self.teacher.output_kinds
        if known is None:
            # Written by version 0.1, for which every output told classes apart.
            shapes = self.teacher.spec.logits
            kinds: list[Kind | None] = [kind_of_classes(s[-1]) for s in shapes]
        else:
            kinds = [None if name is None else kind_named(name) for name in known]
        if len(kinds) == 1:
            # Several students learn from one word.
            return kinds * len(names)
        return kinds if len(kinds) == len(names) else [None] * len(names)

    def check(self) -> None:
        """Nothing: it was when the cache was built."""

    def prepare_fit(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments of `fit`, the teacher's word joined to the data."""
        self._clock, self._failure, self._looked_at = None, None, 0
        self._labels = np.empty((2, 0), np.int64)
        prepared = dict(arguments)
        share = prepared.pop("validation_split")
        x, y, sample_weight = (prepared.pop(k) for k in ("x", "y", "sample_weight"))
        if share and prepared["validation_data"] is None:
            (x, y, sample_weight), prepared["validation_data"] = split_for_validation(
                (x, y, sample_weight), share
            )
        batch_size = prepared.pop("batch_size")
        prepared["x"] = JoinedData(
            self,
            True,
            x,
            y=y,
            sample_weight=sample_weight,
            batch_size=batch_size,
            steps_per_epoch=prepared["steps_per_epoch"],
            shuffle=prepared.pop("shuffle"),
            class_weight=prepared.pop("class_weight"),
        )
        batch_size = prepared["validation_batch_size"] or batch_size
        prepared["validation_batch_size"] = batch_size
        if (known := prepared["validation_data"]) is not None:
            prepared["validation_data"] = self._joined_if_known(known, batch_size)
        return prepared

    def prepare_evaluate(self, data: tuple[Any, ...], batch_size: int | None) -> Any:
        """Data to evaluate on, joined where it is arrays that the cache holds."""
        joined = self._joined_if_known(data, batch_size)
        return (joined, None, None) if isinstance(joined, JoinedData) else data

    def state(self) -> None:
        """No state: there is no model to run."""

    def supervise(
        self, batch: Any, state: Any, training: bool
    ) -> tuple[Supervision | None, Any]:
        """Takes a joined batch apart: supervision, and the batch as it was.

        Raises:
            ValueError: the batch of a training step is from elsewhere.
        """
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
        if not isinstance(x, Joined):
            if training:
                raise ValueError(
                    "A cached teacher supervises what `fit` draws. Received: a batch "
                    "from elsewhere, as `train_on_batch` takes it. Use `fit`, or a "
                    "teacher that runs."
                )
            return None, batch
        tensor = keras.ops.convert_to_tensor
        outputs = from_json(
            self.teacher.spec.outputs, lambda position: tensor(x.logits[position])
        )
        taps = {id(layer): tensor(x.taps[path]) for path, layer in self.layers.items()}
        batch = keras.utils.pack_x_y_sample_weight(x.inputs, y, sample_weight)
        return Supervision(outputs, _CachedTaps(taps)), batch

    def accompany(self, inputs: Any, training: bool) -> Supervision | None:
        """Nothing more: all came with the batch."""
        return None

    def follow(self, clock: Clock) -> None:
        """Prepares for the stages of a cache of a trajectory.

        Raises:
            ValueError: the cache is of another teacher, or this is one stage of it, or
                a mean.
        """
        if not isinstance(self.teacher, SupervisionCache):
            raise ValueError(
                "OnlineTeacher goes through the checkpoints of a `SupervisionCache`. "
                f"Received: a distiller that learns from {self.teacher!r}."
            )
        if clock.trajectory is not self.teacher:
            self.teacher.check_teacher(clock.trajectory)
        self._clock = clock

    def use(self, stage: int) -> None:
        """Nothing to load: the stage is asked for with each batch."""

    def cause_of(self, error: Exception) -> Exception:
        """What made `fit` fail, and was told of in a pipeline's many words."""
        return self._failure or error

    # What is joined to the batches

    def stages(self, training: bool) -> Iterator[int]:
        """The stage that supervises each batch of a pass over the data.

        Args:
            training: by the schedule; else by what is in use when the pass begins.
        """
        clock = self._clock
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

    @property
    def shapes(self) -> tuple[Sequence[tuple[int, ...]], dict[str, tuple[int, ...]]]:
        """Of one example's logits, and of what each tapped layer gave."""
        spec = self.teacher.spec
        return spec.logits, {path: tuple(spec.taps[path]) for path in self.layers}

    @property
    def compares_labels(self) -> bool:
        """Whether the cache holds labels to compare with."""
        return bool(self.teacher.has_labels)

    def view(self, inputs: Any) -> Any:
        """What the teacher sees: all, or its part of `{"teacher", "student"}`."""
        return view_of(inputs, "teacher", self.model)

    def look_up(
        self, inputs: Any, labels: Any, stage: int
    ) -> tuple[tuple[np.ndarray, ...], dict[str, np.ndarray]]:
        """What the teacher says of a batch: logits, and tapped outputs by path.

        Args:
            inputs: as Keras passes them to a model.
            labels: of the batch, or `None`.
            stage: index of the one that supervises.

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
                stage = self.teacher[stage].index
            logits, taps = self.teacher.look_up(rows, stage)
        except Exception as error:
            # What runs inside a `tf.data` pipeline is told of in many words of its own.
            self._failure = error
            raise
        return logits, {path: taps[path] for path in self.layers}

    def _joined_if_known(self, data: Any, batch_size: int | None) -> Any:
        """`JoinedData` of arrays that the cache holds, or `data` as they are."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        leaves = keras.tree.flatten(x)
        if not all(hasattr(leaf, "__array__") for leaf in leaves):
            return data
        try:
            self.teacher.rows(as_numpy(self.view(x)))
        except ValueError:
            return data
        return JoinedData(
            self, False, x, y=y, sample_weight=sample_weight, batch_size=batch_size
        )

    def _check_labels(self, rows: Any, labels: Any) -> None:
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
