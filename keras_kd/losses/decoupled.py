"""Decoupled knowledge distillation: the target class apart from the others."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_kd.arguments import check_number, check_temperature
from keras_kd.losses.leafwise import LeafwiseLoss, check_classes, sum_over_leaves
from keras_kd.losses.reduction import weighted_mean
from keras_kd.outputs import (
    BANNED,
    class_logits,
    divergence_after,
    log_sum_exp_change,
    number_of_classes,
    valid_positions,
    without_banned,
)


@keras.saving.register_keras_serializable(package="keras_kd")
class DecoupledKD(LeafwiseLoss):
    r"""Soft targets in two parts, $\tau^2 (\alpha\,TCKD + \beta\,NCKD)$.

    With the label's class `y`, TCKD is the KL divergence of the binary distributions
    $(p_y, 1 - p_y)$ of teacher and student, NCKD that of their softmax over all
    classes but `y`, both at temperature $\tau$. A single output unit counts as the
    two classes `[0, z]`, for which NCKD is 0.

    Convention: the mean over examples and positions. With `beta` replaced by the
    teacher's $1 - p_y$ of each example and `alpha=1` it would be `SoftTargets`.

    Args:
        alpha: weight >= 0 of TCKD.
        beta: weight >= 0 of NCKD.
        temperature: `tau` in [1e-6, 1e6].

    Raises:
        ValueError: an argument is out of its range.

    Source: Zhao et al., "Decoupled Knowledge Distillation", CVPR 2022, equation 7.

    Example:

    >>> teacher = np.array([[2.0, 0.0, 1.0]], "float32")
    >>> student = np.array([[0.0, 0.0, 0.0]], "float32")
    >>> loss = DecoupledKD(temperature=1.0)
    >>> print(round(float(loss.compute_loss(teacher, student, np.array([0]))), 4))
    1.1166
    """

    of_classes = True

    def __init__(self, alpha: float = 1.0, beta: float = 8.0, temperature: float = 4.0):
        self.alpha = check_number("alpha", alpha, at_least=0)
        self.beta = check_number("beta", beta, at_least=0)
        self.temperature = check_temperature("temperature", temperature)

    def compute_loss(
        self,
        teacher_outputs: Any,
        student_outputs: Any,
        y_true: Any = None,
        sample_weight: Any = None,
        output_kind: Any = None,
        **kwargs: Any,
    ) -> Any:
        """The loss of one batch.

        Args:
            teacher_outputs: logits `(batch, ..., classes)`, or a structure of such.
            student_outputs: logits of the same shape.
            y_true: class indices `(batch, ...)` or `(batch, ..., 1)`, or one-hot of
                the logits' shape. Required. An index that is no class makes the loss
                NaN, as in Keras, unless its position does not count; in a NumPy array
                it is refused.
            sample_weight: `(batch,)` or `(batch, ...)`.
            output_kind: what the outputs are, one for all or a structure of names;
                `None` for classes.

        Returns:
            Scalar.

        Raises:
            ValueError: there are no labels, or of a shape that is none of these, or
                that are no classes, or an output does not tell classes apart.
        """
        return sum_over_leaves(
            self._leaf_loss,
            teacher_outputs,
            student_outputs,
            y_true=y_true,
            sample_weight=sample_weight,
            output_kind=output_kind,
        )

    def _leaf_loss(
        self,
        teacher: Any,
        student: Any,
        outputs: Any,
        y_true: Any,
        sample_weight: Any,
        output_kind: str | None,
    ) -> Any:
        check_classes(self, output_kind, student.shape[-1])
        labels = _class_indices(y_true, student)
        teacher = without_banned(class_logits(teacher))
        student = without_banned(class_logits(student))
        classes = student.shape[-1]
        known = ops.logical_and(labels >= 0, labels < classes)
        is_target = ops.one_hot(ops.where(known, labels, 0), classes, dtype="bool")
        before, after = teacher / self.temperature, student / self.temperature
        change = (student - teacher) / self.temperature

        def target(values: Any) -> Any:
            return ops.sum(ops.where(is_target, values, 0.0), axis=-1)

        left_out = BANNED / self.temperature
        rest = (
            ops.where(is_target, left_out, before),
            ops.where(is_target, left_out, after),
            ops.where(is_target, 0.0, change),
        )
        # The log-odds of the target, before and after, and their change.
        odds = (
            target(before) - ops.logsumexp(rest[0], axis=-1),
            target(after) - ops.logsumexp(rest[1], axis=-1),
            target(change) - log_sum_exp_change(*rest),
        )
        binary = [ops.stack([ops.zeros_like(z), z], axis=-1) for z in odds]
        tckd, nckd = divergence_after(*binary), divergence_after(*rest)
        values = self.alpha * tckd + self.beta * nckd
        values = ops.where(known, values, float("nan"))
        valid = valid_positions(outputs, values.dtype)
        return self.temperature**2 * weighted_mean(values, valid, sample_weight)

    def get_config(self) -> dict[str, Any]:
        return {
            "alpha": self.alpha,
            "beta": self.beta,
            "temperature": self.temperature,
        }


def _class_indices(y_true: Any, logits: Any) -> Any:
    if y_true is None:
        raise ValueError(
            "DecoupledKD needs labels: it treats the label's class apart from the "
            "others. Received: y_true=None. Give labels with every batch, or use "
            "`SoftTargets`."
        )
    given = y_true
    y_true = ops.convert_to_tensor(y_true)
    positions, classes = len(logits.shape) - 1, logits.shape[-1]
    if len(y_true.shape) == positions + 1:
        if y_true.shape[-1] == classes and classes > 1:
            return ops.argmax(y_true, axis=-1)
        if y_true.shape[-1] == 1:
            y_true = ops.squeeze(y_true, -1)
    if len(y_true.shape) != positions:
        raise ValueError(
            "`y_true` must hold class indices or be one-hot. Received: y_true of "
            f"shape {tuple(y_true.shape)} for logits of shape {tuple(logits.shape)}"
        )
    if isinstance(given, np.ndarray):
        _check_range(given, number_of_classes(classes))
    return ops.cast(y_true, "int32")


def _check_range(labels: Any, classes: int) -> None:
    wrong = labels[~((labels >= 0) & (labels < classes))]
    if wrong.size:
        raise ValueError(
            f"`y_true` must hold class indices from 0 to {classes - 1}. Received: "
            f"{wrong.size} labels out of this range, {wrong[0]} first"
        )
