"""Fidelity: how often the student's prediction is the teacher's."""

from typing import Any

import keras
from keras import ops

from keras_kd.arguments import check_instance
from keras_kd.outputs import (
    kind_named,
    kind_of,
    positional_weights,
    valid_positions,
)


def top1_agreement(
    teacher_outputs: Any, student_outputs: Any, output_kind: str | None = None
) -> Any:
    """Per example, 1.0 where teacher and student predict the same class, else 0.0.

    Args:
        teacher_outputs: logits `(..., k)`. With `k = 1` the predicted class is the
            sign of the logit.
        student_outputs: logits of the same shape.
        output_kind: `"categorical"`, or `"bernoulli"` for a set of labels, of which the
            share is taken that both decide alike; `None` for classes.

    Returns:
        Float tensor `(...)`; NaN where the teacher's outputs are not finite, since
        then there is no prediction to agree with.

    Raises:
        ValueError: `output_kind` is `"continuous"`: on values nothing is decided; or
            the shapes differ.
    """
    teacher_outputs = ops.convert_to_tensor(teacher_outputs)
    student_outputs = ops.convert_to_tensor(student_outputs)
    teacher_shape, student_shape = teacher_outputs.shape, student_outputs.shape
    if len(teacher_shape) != len(student_shape) or not all(
        None in (one, other) or one == other
        for one, other in zip(teacher_shape, student_shape, strict=True)
    ):
        raise ValueError(
            "`teacher_outputs` and `student_outputs` must have the same shape. "
            f"Received: shapes {tuple(teacher_shape)} and {tuple(student_shape)}"
        )
    kind = kind_of(output_kind, teacher_outputs.shape[-1])
    same = kind.agreement(teacher_outputs, student_outputs)
    finite = ops.all(ops.isfinite(teacher_outputs), axis=-1)
    return ops.where(finite, same, float("nan"))


@keras.saving.register_keras_serializable(package="keras_kd")
class Fidelity(keras.metrics.Mean):
    """Top-1 agreement of a student with its teacher, the mean over examples.

    In sequences the mean is over positions; those that a Keras mask on the student's
    outputs leaves out do not count.

    Args:
        name: the metric's name.
        dtype: of the result, as in `keras.metrics.Metric`.
        output_kind: as in `top1_agreement`.

    Source: Stanton et al., "Does Knowledge Distillation Really Work?", NeurIPS 2021.

    Example:

    >>> fidelity = Fidelity()
    >>> fidelity.update_state([[0.0, 2.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, 3.0]])
    >>> float(fidelity.result())
    0.5
    """

    def __init__(
        self,
        name: str = "fidelity",
        dtype: Any = None,
        output_kind: str | None = None,
    ):
        check_instance("name", name, str, "a string")
        if output_kind is not None:
            kind_named(output_kind)
        super().__init__(name=name, dtype=dtype)
        self.output_kind = output_kind

    def update_state(
        self,
        y_true: Any,
        y_pred: Any,
        sample_weight: Any = None,
        output_kind: str | None = None,
    ) -> None:
        """Counts one batch.

        Args:
            y_true: the teacher's logits `(batch, ..., k)`.
            y_pred: the student's, of the same shape.
            sample_weight: `(batch,)` or `(batch, ...)`.
            output_kind: of this batch, where it is not that of the metric.
        """
        values = top1_agreement(y_true, y_pred, output_kind or self.output_kind)
        weights = valid_positions(y_pred, self.dtype)
        if sample_weight is not None:
            weights = weights * positional_weights(sample_weight, weights)
        counted = ops.where(weights != 0, ops.cast(values, self.dtype), 0.0)
        super().update_state(
            ops.reshape(counted, (-1,)), sample_weight=ops.reshape(weights, (-1,))
        )

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "dtype": self.dtype,
            "output_kind": self.output_kind,
        }
