"""The loss of one step: what the teacher says and what the labels say, mixed."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from keras_kd.distiller.live_numbers import LiveNumbers
from keras_kd.distiller.logs import DistillationLogs
from keras_kd.distiller.loss import DistillationTerms
from keras_kd.distiller.step import Step, current_step
from keras_kd.keras_internals import (
    additional_loss,
    another_compiled_loss,
    compiled_loss,
)
from keras_kd.outputs import Kind


def mixed_loss(
    distiller: Any,
    logs: DistillationLogs,
    live: LiveNumbers,
    distillation: DistillationTerms,
    find_kinds: Callable[[Any], Sequence[Kind | None]],
    batch: tuple[Any, Any, Any, Any],
) -> Any:
    """`alpha * distillation + (1 - alpha) * student_loss`, and the regularisers.

    Without supervision it is the loss of the labels and the regularisers.

    Args:
        distiller: the model.
        logs: its own, which are told of each term.
        live: its numbers, as they may change.
        distillation: the terms of its distillation losses.
        find_kinds: gives the kinds of the student's outputs.
        batch: inputs, labels, the student's outputs, and weights of the examples.
    """
    x, y, y_pred, sample_weight = batch
    step = current_step() or Step(None)
    rows = ops.shape(keras.tree.flatten(x if x is not None else y_pred)[0])[0]
    student_loss = _loss_of_labels(distiller, y, y_pred, sample_weight)
    if student_loss is not None:
        logs.record(logs.student_loss, student_loss, rows)
    terms = []
    if step.supervision is None:
        terms += [] if student_loss is None else [student_loss]
    else:
        numbers = live.of_step(step.numbers, y_pred)
        if live.mixes_in(student_loss):
            _check_labels_are_there(distiller, y)
            terms.append(ops.multiply(1.0 - numbers.alpha, student_loss))
        if distiller.train_teacher:
            terms.append(_loss_of_teacher(distiller, step, y, sample_weight))
            logs.record(logs.teacher_loss, terms[-1], rows)
        term = distillation.total(
            distiller.supervisor, step, numbers, find_kinds, batch[1:], rows
        )
        if live.mixture != "labels":
            terms.append(ops.multiply(numbers.alpha, term))
    terms += [additional_loss(distiller, loss) for loss in distiller.losses]
    return sum(terms) if terms else ops.zeros(())


def _check_labels_are_there(distiller: Any, y: Any) -> None:
    """Refuses a batch without labels, or a distiller without their loss.

    Raises:
        ValueError: says what needs them.
    """
    if distiller.loss is not None and y is not None:
        return
    labels = "missing" if y is None else "given"
    received = f"Received: loss={distiller.loss}, labels {labels}."
    if distiller.train_teacher:
        raise ValueError(
            "`train_teacher=True` trains the teacher on labels: it needs "
            f"`compile(loss=...)` and labels in every batch. {received}"
        )
    raise ValueError(
        f"alpha={distiller.alpha} mixes in the loss of the labels, which needs "
        f"`compile(loss=...)` and labels in every batch. {received} For distillation "
        "without labels pass alpha=1."
    )


def _loss_of_labels(distiller: Any, y: Any, y_pred: Any, sample_weight: Any) -> Any:
    """The compiled loss of a batch; `None` without labels, or without a loss."""
    compiled = compiled_loss(distiller)
    if compiled is None or y is None:
        return None
    return compiled(y, y_pred, sample_weight)


def _loss_of_teacher(distiller: Any, step: Step, y: Any, sample_weight: Any) -> Any:
    """The loss of the labels of a teacher that is trained along.

    Raises:
        ValueError: there are no labels, or no loss of them.
    """
    _check_labels_are_there(distiller, y)
    names = getattr(distiller.teacher, "output_names", None)
    compiled = another_compiled_loss(distiller, names)
    return compiled(y, step.said.outputs, sample_weight)
