"""The distillation losses: what each receives, and their weighted sum."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import keras
from keras import ops

from keras_kd.backend import replica_count
from keras_kd.distiller.arguments import check_same_outputs, for_each_student
from keras_kd.distiller.live_numbers import NumbersOfStep
from keras_kd.distiller.logs import DistillationLogs
from keras_kd.distiller.step import Step
from keras_kd.losses.leafwise import one_per_leaf
from keras_kd.outputs import Kind, at_least_float32, name_of, to_logits
from keras_kd.teachers.supervision import TappedOutputs


class Side(NamedTuple):
    """What a teacher or a student gave, as losses compare it.

    Attributes:
        logits: the final ones.
        taps: what tapped layers gave.
        layers: by path.
    """

    logits: Any
    taps: TappedOutputs | None
    layers: Mapping[str, keras.layers.Layer]

    def compared(self, path: str | None) -> Any:
        """A tapped layer's output, or the final logits without a path."""
        if path is None:
            return self.logits
        assert self.taps is not None
        tapped = self.taps.output(self.layers[path])
        return keras.tree.map_structure(at_least_float32, tapped)


class DistillationTerms:
    """What the distillation losses of a distiller compare, and their sum.

    Args:
        layers: of the student, those that losses tap, by path.
        form: `"logits"` or `"probabilities"`, what the student gives.
        logs: are told of each loss, and of the fidelity.
    """

    def __init__(
        self,
        layers: Mapping[str, keras.layers.Layer],
        form: str,
        logs: DistillationLogs,
    ):
        self.layers = layers
        self._form = form
        self._logs = logs

    def total(
        self,
        supervisor: Any,
        step: Step,
        numbers: NumbersOfStep,
        find_kinds: Callable[[Any], Sequence[Kind | None]],
        batch: tuple[Any, Any, Any],
        rows: Any,
    ) -> Any:
        """The weighted sum of all losses of one batch, each logged by its name.

        Args:
            supervisor: who speaks, with its `form` and its `layers`.
            step: what it said, and what the student's layers gave.
            numbers: the losses and their weights, as this step has them.
            find_kinds: gives the kinds of the student's outputs.
            batch: labels, the student's outputs, and weights of the examples.
            rows: how many examples they are.

        Raises:
            ValueError: outputs differ where a loss compares them, or a loss refuses
                what it is given.
        """
        y_true, y_pred, sample_weight = batch
        said = for_each_student(step.said.outputs, y_pred)
        check_same_outputs(said, y_pred, numbers.losses)
        kinds = find_kinds(y_pred)
        comparable = len(keras.tree.flatten(said)) == len(kinds)
        teacher_logits = to_logits(said, supervisor.form, kinds if comparable else None)
        student_logits = to_logits(y_pred, self._form, kinds)
        if comparable:
            self._logs.record_fidelity(
                teacher_logits, student_logits, kinds, sample_weight
            )
        teacher = Side(teacher_logits, step.said.taps, supervisor.layers)
        student = Side(student_logits, step.student_taps, self.layers)
        names = keras.tree.pack_sequence_as(y_pred, [name_of(k) for k in kinds])
        total: Any = 0.0
        for i, loss in enumerate(numbers.losses):
            # Held constant, also where the teacher is trained along.
            teacher_side = keras.tree.map_structure(
                ops.stop_gradient,
                teacher.compared(getattr(loss, "teacher_layer_name", None)),
            )
            student_side = student.compared(getattr(loss, "student_layer_name", None))
            sides, beside = (teacher_side, student_side), (y_true, sample_weight, names)
            place = self._logs.places[i]
            if place is not None:
                sides, beside = _of_output(place, loss, sides, beside)
            value = distillation_term(loss, *sides, *beside)
            self._logs.record_named(i, value, rows)
            total = total + ops.multiply(numbers.weights[i], value)
        self._logs.record(self._logs.distillation_loss, total, rows)
        return total


def _of_output(
    place: int, loss: Any, sides: tuple[Any, Any], beside: tuple[Any, Any, Any]
) -> tuple[tuple[Any, Any], tuple[Any, Any, Any]]:
    """What is of one output: the two sides; labels, weights and kinds beside them."""
    y_true, sample_weight, names = beside
    outputs = sides[1]
    if "y_true" in inspect.signature(loss.compute_loss).parameters:
        y_true = one_per_leaf("y_true", y_true, outputs)[place]
    weight = one_per_leaf("sample_weight", sample_weight, outputs)[place]
    teacher, student = (keras.tree.flatten(side)[place] for side in sides)
    return (teacher, student), (y_true, weight, keras.tree.flatten(names)[place])


def distillation_term(
    loss: Any,
    teacher_outputs: Any,
    student_outputs: Any,
    y_true: Any,
    sample_weight: Any,
    output_kind: Any = None,
) -> Any:
    """The value of one distillation loss on this replica's part of the batch.

    Args:
        loss: a `keras.distillation.DistillationLoss`; it is given `y_true`,
            `sample_weight` and `output_kind` where its `compute_loss` names them.
        teacher_outputs: logits, or a tapped layer's output.
        student_outputs: likewise.
        y_true: labels or `None`.
        sample_weight: weights of the examples or `None`.
        output_kind: the names of the outputs' kinds, in the structure of the outputs.

    Returns:
        Scalar, the mean over the examples divided by the number of replicas, so that
        the sum over replicas is the mean over the whole batch.

    Raises:
        ValueError: shapes disagree, `sample_weight` is given to a loss that does not
            take it, or the value is not a scalar.
    """
    name = type(loss).__name__
    loss.validate_outputs(teacher_outputs, student_outputs)
    accepted = inspect.signature(loss.compute_loss).parameters
    kwargs = {}
    if "y_true" in accepted:
        kwargs["y_true"] = y_true
    if "output_kind" in accepted:
        kwargs["output_kind"] = output_kind
    if "sample_weight" in accepted:
        kwargs["sample_weight"] = sample_weight
    elif sample_weight is not None:
        raise ValueError(
            f"Distillation loss {name} does not take `sample_weight` (nor "
            "`class_weight`, which becomes one), so the examples' weights would not "
            "count. Leave the weights out, or use a loss that takes them."
        )
    value = loss.compute_loss(teacher_outputs, student_outputs, **kwargs)
    if len(value.shape) != 0:
        raise ValueError(
            f"`{name}.compute_loss` must return a scalar. Received: shape "
            f"{tuple(value.shape)}"
        )
    replicas = replica_count()
    if replicas == 1 or _is_scaled(loss, replicas):
        return value
    return value / replicas


def _is_scaled(loss: Any, replicas: int) -> bool:
    """Whether the loss divides by the number of replicas itself.

    Keras's distillation losses do where they are made of `keras.losses.Loss` objects,
    and do not where they are made of functions.
    """
    inner = [part for part in keras.tree.flatten(getattr(loss, "loss", None)) if part]
    scaled = [isinstance(part, keras.losses.Loss) for part in inner]
    if any(scaled) and not all(scaled):
        raise ValueError(
            f"{type(loss).__name__} mixes `keras.losses.Loss` objects, which Keras "
            "divides by the number of replicas, with functions, which it does not. "
            f"On {replicas} replicas pass `keras.losses.Loss` objects only."
        )
    return any(scaled)
