"""Regression on logits, or on values."""

from typing import Any

import keras
from keras import ops

from keras_kd.losses.leafwise import LeafwiseLoss, sum_over_leaves
from keras_kd.losses.reduction import weighted_mean
from keras_kd.outputs import valid_positions


@keras.saving.register_keras_serializable(package="keras_kd")
class LogitMSE(LeafwiseLoss):
    r"""Mean squared error of logits, $\frac1k \lVert g - f \rVert^2$.

    Convention: the mean over classes, examples and positions, as
    `keras.losses.MeanSquaredError`; the paper has the sum over classes and a factor
    1/2, so its loss is this one times `k / 2`.

    Source: Ba & Caruana, "Do Deep Nets Really Need to be Deep?", NeurIPS 2014,
    equation 1.

    Example:

    >>> teacher = np.array([[2.0, 0.0]], "float32")
    >>> student = np.array([[0.0, 0.0]], "float32")
    >>> print(float(LogitMSE().compute_loss(teacher, student)))
    2.0
    """

    def compute_loss(
        self,
        teacher_outputs: Any,
        student_outputs: Any,
        sample_weight: Any = None,
        **kwargs: Any,
    ) -> Any:
        """The loss of one batch.

        Args:
            teacher_outputs: logits `(batch, ..., classes)`, or a structure of such.
            student_outputs: logits of the same shape.
            sample_weight: `(batch,)` or `(batch, ...)`.

        Returns:
            Scalar.
        """
        return sum_over_leaves(
            self._leaf_loss,
            teacher_outputs,
            student_outputs,
            sample_weight=sample_weight,
        )

    def _leaf_loss(
        self, teacher: Any, student: Any, outputs: Any, sample_weight: Any
    ) -> Any:
        errors = ops.mean(ops.square(student - teacher), axis=-1)
        valid = valid_positions(outputs, errors.dtype)
        return weighted_mean(errors, valid, sample_weight)

    def get_config(self) -> dict[str, Any]:
        return {}
