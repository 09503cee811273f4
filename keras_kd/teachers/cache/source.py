"""The teacher of a cache, stage by stage."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import keras
import numpy as np

from keras_kd import backend
from keras_kd.forward import find_layer, output_spec
from keras_kd.outputs import (
    Kind,
    OutputKind,
    check_last_activation,
    declared_kinds,
    kind_named,
    kind_of_classes,
    output_names,
    to_logits,
)
from keras_kd.teachers.cache.manifest import CachedStage
from keras_kd.teachers.live import LiveTeacher
from keras_kd.teachers.trajectory.reader import TeacherTrajectory

# From inputs to logits, a structure of arrays, and the outputs of tapped layers.
Predict: TypeAlias = Callable[[Any], tuple[Any, dict[str, np.ndarray]]]


class Source:
    """The teacher, stage by stage.

    Args:
        teacher: a built `keras.Model`, or a `TeacherTrajectory`.
        outputs: `"logits"` or `"probabilities"`.
        taps: paths of layers whose outputs are wanted too.
        output_kind: what the outputs mean, as far as the user says it.

    Raises:
        ValueError: the teacher is something else, is not built, or has no such layer.
    """

    def __init__(
        self,
        teacher: Any,
        outputs: str,
        taps: Sequence[str],
        output_kind: OutputKind = None,
    ) -> None:
        self._trajectory = teacher if isinstance(teacher, TeacherTrajectory) else None
        if self._trajectory is not None:
            self._trajectory.check_complete()
            self._trajectory.check()
            model = self._trajectory.load(-1)
            self.total_steps = self._trajectory.total_steps
            self.stages = tuple(
                CachedStage(c.index, c.step, c.epoch, dict(c.metrics), c.sha256)
                for c in self._trajectory
            )
        elif isinstance(teacher, keras.Model) and teacher.built:
            model, self.total_steps = teacher, 0
            self.stages = (CachedStage(0, 0, 0, {}, weights_fingerprint(model)),)
        else:
            raise ValueError(
                "`teacher` must be a built `keras.Model`, a "
                "`keras_kd.TeacherTrajectory` or a function of a batch. Received: "
                f"{teacher!r}"
            )
        self._declared = output_kind
        if (symbolic := output_spec(model)) is not None:
            names = output_names(model, symbolic)
            declared = declared_kinds(output_kind, names)
            check_last_activation(model, outputs, "teacher_outputs", declared)
        layers = {path: find_layer(model, path) for path in taps}
        self.name, self.outputs = model.name, outputs
        self.model = model
        self._live = LiveTeacher(model, outputs, layers)
        self._live.check()
        self._predict = backend.compile_forward(self._forward)

    def __len__(self) -> int:
        return len(self.stages)

    def _forward(
        self, trainable: Any, non_trainable: Any, inputs: Any
    ) -> tuple[Any, dict[str, Any]]:
        supervision = self._live.say(inputs, (trainable, non_trainable))
        kinds = self.output_kinds(supervision.outputs)
        taps = {
            path: supervision.taps.output(layer)
            for path, layer in self._live.layers.items()
        }
        return to_logits(supervision.outputs, self.outputs, kinds), taps

    def output_kinds(self, outputs: Any) -> list[Kind | None]:
        """What each output means, as far as it is known.

        Args:
            outputs: of the teacher, for their structure.

        Raises:
            ValueError: what was said of them does not fit.
        """
        names = output_names(self.model, outputs)
        recorded = self._trajectory.output_kinds if self._trajectory else []
        if recorded is None:
            # Version 0.1, for which every output told classes apart.
            leaves = keras.tree.flatten(outputs)
            known: list[Kind | None] = [
                kind_of_classes(leaf.shape[-1]) for leaf in leaves
            ]
        elif len(recorded) == len(names):
            known = [None if k is None else kind_named(k) for k in recorded]
        else:
            known = self._live.output_kinds(names)
        said = declared_kinds(self._declared, names)
        return [a or b for a, b in zip(said, known, strict=True)]

    def load(self, stage: int, example: Any) -> Predict:
        """A function from inputs to logits and tapped outputs, of one stage.

        Args:
            stage: its index.
            example: a batch, by whose size all batches are run.
        """
        if self._trajectory is not None:
            self._trajectory.load(stage, self.model)
        rows = len(keras.tree.flatten(example)[0])
        values = self._live.state()

        def predict(inputs: Any) -> tuple[Any, dict[str, np.ndarray]]:
            n = len(keras.tree.flatten(inputs)[0])
            # A smaller last batch would be compiled for itself.
            chosen = np.minimum(np.arange(max(rows, n)), n - 1)
            tensors = keras.tree.map_structure(
                lambda leaf: keras.ops.convert_to_tensor(leaf[chosen]), inputs
            )
            outputs, taps = keras.tree.map_structure(
                lambda leaf: backend.to_numpy(keras.ops.cast(leaf, "float32"))[:n],
                self._predict(*values, tensors),
            )
            return outputs, taps

        return predict


def weights_fingerprint(model: keras.Model) -> str:
    """SHA-256 of a model's weights, in their order."""
    digest = hashlib.sha256()
    for variable in model.weights:
        value = np.ascontiguousarray(keras.ops.convert_to_numpy(variable.value))
        digest.update(f"{value.shape} {value.dtype}".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()
