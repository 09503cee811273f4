"""DIST: relations within and between classes, up to scale and shift."""

from typing import Any

import keras
from keras import ops

from keras_kd.arguments import check_number, check_temperature
from keras_kd.losses.leafwise import LeafwiseLoss, check_classes, sum_over_leaves
from keras_kd.losses.reduction import weighted_mean
from keras_kd.outputs import class_logits, valid_positions

# What varies by less than this, relative to its size, is constant up to rounding.
_CONSTANT = 1e-6


@keras.saving.register_keras_serializable(package="keras_kd")
class DIST(LeafwiseLoss):
    r"""Pearson distances, $\tau^2 (\beta\,d_{inter} + \gamma\,d_{intra})$.

    For class probabilities at temperature $\tau$, `d_inter` is the mean over examples
    of one minus the correlation of the teacher's and the student's row, `d_intra` the
    mean over classes of one minus that of their columns over the batch. Further
    positions, as of a sequence, count as examples. A single output unit counts as the
    two classes `[0, z]`.

    The columns relate all examples of a batch, so there is no `sample_weight`, and
    under `tf.distribute` a batch is that of one replica. Of a batch of one example
    `d_intra` is 1.

    Convention: as torchdistill's `DISTLoss`. A row or column that is constant up to
    rounding has no correlation: it counts 1 and passes no gradient, where torchdistill
    passes one of the order of `1e8`.

    Args:
        beta: weight >= 0 of the relation between classes.
        gamma: weight >= 0 of the relation within classes.
        temperature: `tau` in [1e-6, 1e6].

    Raises:
        ValueError: an argument is out of its range; or, when called, an output does
            not tell classes apart.

    Source: Huang et al., "Knowledge Distillation from A Stronger Teacher", NeurIPS
    2022, equation 9.

    Example:

    >>> teacher = np.array([[2.0, 0.0], [0.0, 1.0]], "float32")
    >>> print(abs(round(float(DIST().compute_loss(teacher, teacher)), 4)))
    0.0
    """

    of_classes = True
    relates_examples = True

    def __init__(self, beta: float = 1.0, gamma: float = 1.0, temperature: float = 1.0):
        self.beta = check_number("beta", beta, at_least=0)
        self.gamma = check_number("gamma", gamma, at_least=0)
        self.temperature = check_temperature("temperature", temperature)

    def compute_loss(
        self,
        teacher_outputs: Any,
        student_outputs: Any,
        output_kind: Any = None,
        **kwargs: Any,
    ) -> Any:
        """The loss of one batch.

        Args:
            teacher_outputs: logits `(batch, ..., classes)`, or a structure of such.
            student_outputs: logits of the same shape.
            output_kind: what the outputs are, one for all or a structure of names;
                `None` for classes.

        Returns:
            Scalar.

        Raises:
            ValueError: an output does not tell classes apart, or `sample_weight` is
                given.
        """
        self.refuse_weights(kwargs)
        return sum_over_leaves(
            self._leaf_loss, teacher_outputs, student_outputs, output_kind=output_kind
        )

    def _leaf_loss(
        self, teacher: Any, student: Any, outputs: Any, output_kind: str | None
    ) -> Any:
        check_classes(self, output_kind, student.shape[-1])
        p = self._probabilities(teacher)
        q = self._probabilities(student)
        valid = ops.reshape(valid_positions(outputs, q.dtype), (-1,))
        inter = weighted_mean(1.0 - _correlation(p, q, ops.ones_like(p)), valid)
        columns = _correlation(ops.transpose(p), ops.transpose(q), valid[None, :])
        intra = ops.mean(1.0 - columns)
        return self.temperature**2 * (self.beta * inter + self.gamma * intra)

    def _probabilities(self, logits: Any) -> Any:
        logits = class_logits(logits)
        return ops.reshape(
            ops.softmax(logits / self.temperature), (-1, logits.shape[-1])
        )

    def get_config(self) -> dict[str, Any]:
        return {
            "beta": self.beta,
            "gamma": self.gamma,
            "temperature": self.temperature,
        }


def _correlation(x: Any, y: Any, weights: Any) -> Any:
    """Pearson correlation over the last axis, 0 where one side is constant.

    Args:
        x: tensor `(rows, n)`.
        y: tensor `(rows, n)`.
        weights: zeros and ones that broadcast against both: the entries that count.
    """
    count = ops.maximum(ops.sum(weights, axis=-1, keepdims=True), 1.0)

    def centre(z: Any) -> tuple[Any, Any, Any]:
        z = weights * z
        centred = weights * (z - ops.sum(z, axis=-1, keepdims=True) / count)
        variation = ops.sum(ops.square(centred), axis=-1)
        size = ops.sum(ops.square(z), axis=-1)
        return centred, variation, variation > _CONSTANT**2 * size

    x, x_variation, x_varies = centre(x)
    y, y_variation, y_varies = centre(y)
    varies = ops.logical_and(x_varies, y_varies)
    # The inner `where` keeps the gradient of what the outer one leaves out finite.
    inverse_norms = ops.rsqrt(ops.where(varies, x_variation, 1.0)) * ops.rsqrt(
        ops.where(varies, y_variation, 1.0)
    )
    return ops.where(varies, ops.sum(x * y, axis=-1) * inverse_norms, 0.0)
