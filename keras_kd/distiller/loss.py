"""How a distiller calls one distillation loss."""

import inspect

import keras

from keras_kd.backend import replica_count


def distillation_term(loss, teacher_outputs, student_outputs, y_true, sample_weight):
    """The value of one distillation loss on this replica's part of the batch.

    Args:
        loss: a `keras.distillation.DistillationLoss`; it is given `y_true` and
            `sample_weight` where its `compute_loss` names them.
        teacher_outputs: logits, or a tapped layer's output.
        student_outputs: likewise.
        y_true: labels or `None`.
        sample_weight: weights of the examples or `None`.

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


def _is_scaled(loss, replicas: int) -> bool:
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
