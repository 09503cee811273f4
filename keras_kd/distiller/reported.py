"""What a distiller reports: the logs there is something to say of."""

from typing import Any

from keras_kd.distiller.logs import DistillationLogs, results
from keras_kd.distiller.output_kinds import OutputKinds
from keras_kd.distiller.step import current_step
from keras_kd.keras_internals import compiled_loss, compiled_metrics


def logs_of_batch(
    distiller: Any, logs: DistillationLogs, kinds: OutputKinds, batch: tuple[Any, ...]
) -> dict[str, Any]:
    """The logs of a step: those of the labels with labels, of the teacher with one.

    Args:
        distiller: the model.
        logs: its own.
        kinds: what is known of its outputs.
        batch: labels, the student's outputs, and weights of the examples.
    """
    y, y_pred, sample_weight = batch
    step, metrics = current_step(), compiled_metrics(distiller)
    supervised = step is not None and step.supervision is not None
    silent = logs.silent(kinds.found or [], supervised)
    if y is None:
        losses = getattr(compiled_loss(distiller), "metrics", [])
        silent += [metrics, *losses]
    elif metrics is not None:
        metrics.update_state(y, y_pred, sample_weight)
    if y is None or compiled_loss(distiller) is None:
        silent.append(logs.student_loss)
    if not (supervised and distiller.train_teacher):
        silent.append(logs.teacher_loss)
    return results(distiller.metrics, silent)


def logs_of_epoch(
    distiller: Any, logs: DistillationLogs, kinds: OutputKinds
) -> dict[str, Any]:
    """All logs there are; metrics that no label has reached yet have none."""
    metrics = compiled_metrics(distiller)
    silent = logs.silent(kinds.found or [], supervised=True)
    unbuilt = [] if metrics is None or metrics.built else [metrics]
    return results(distiller.metrics, silent + unbuilt)
