"""Soft targets: the teacher's class probabilities at a temperature."""

import keras
from keras import ops

from keras_kd.arguments import check_number
from keras_kd.losses.leafwise import LeafwiseLoss, sum_over_leaves
from keras_kd.losses.reduction import valid_positions, weighted_mean
from keras_kd.outputs.bernoulli import class_logits

_DIVERGENCES = ("kl_divergence", "cross_entropy")


@keras.saving.register_keras_serializable(package="keras_kd")
class SoftTargets(LeafwiseLoss):
    r"""Divergence of softened class probabilities, $\tau^2 D(p_t, p_s)$.

    With $p_t = \mathrm{softmax}(g / \tau)$, $p_s = \mathrm{softmax}(f / \tau)$, the
    divergence is $\mathrm{KL}(p_t \| p_s) = \sum p_t (\log p_t - \log p_s)$ or the
    cross-entropy $-\sum p_t \log p_s$. Both have the same gradient. A single output
    unit is a Bernoulli variable: sigmoid instead of softmax, two classes.

    Convention: the mean over all examples and positions, with the factor `tau ** 2`.
    For outputs `(batch, classes)` that is torch's `"batchmean"` times `tau ** 2`.

    Args:
        temperature: `tau` > 0.
        divergence: `"kl_divergence"` or `"cross_entropy"`.

    Raises:
        ValueError: `temperature` or `divergence` is none of these.

    Source: Hinton, Vinyals & Dean, "Distilling the Knowledge in a Neural Network",
    2015, section 2.

    Example:

    >>> teacher = np.array([[2.0, 0.0]], "float32")
    >>> student = np.array([[0.0, 0.0]], "float32")
    >>> loss = SoftTargets(temperature=1.0).compute_loss(teacher, student)
    >>> print(round(float(loss), 4))
    0.3278
    """

    def __init__(self, temperature=4.0, divergence="kl_divergence"):
        self.temperature = check_number("temperature", temperature, above=0)
        if divergence not in _DIVERGENCES:
            raise ValueError(
                f"`divergence` must be one of {list(_DIVERGENCES)}. "
                f"Received: divergence={divergence!r}"
            )
        self.divergence = divergence

    def compute_loss(
        self, teacher_outputs, student_outputs, sample_weight=None, **kwargs
    ):
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

    def _leaf_loss(self, teacher, student, outputs, sample_weight):
        log_p = ops.log_softmax(class_logits(teacher) / self.temperature)
        log_q = ops.log_softmax(class_logits(student) / self.temperature)
        compared = log_p - log_q if self.divergence == "kl_divergence" else -log_q
        divergence = ops.sum(ops.exp(log_p) * compared, axis=-1)
        valid = valid_positions(outputs, divergence.dtype)
        return self.temperature**2 * weighted_mean(divergence, valid, sample_weight)

    def get_config(self):
        return {"temperature": self.temperature, "divergence": self.divergence}
