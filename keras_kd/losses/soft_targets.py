"""Soft targets: what the teacher predicts, at a temperature."""

from typing import Any, Literal

import keras

from keras_kd.arguments import check_choice, check_temperature
from keras_kd.losses.leafwise import LeafwiseLoss, sum_over_leaves
from keras_kd.losses.reduction import weighted_mean
from keras_kd.outputs import kind_of, valid_positions

_DIVERGENCES = ("kl_divergence", "cross_entropy")


@keras.saving.register_keras_serializable(package="keras_kd")
class SoftTargets(LeafwiseLoss):
    r"""Divergence of softened class probabilities, $\tau^2 D(p_t, p_s)$.

    With $p_t = \mathrm{softmax}(g / \tau)$, $p_s = \mathrm{softmax}(f / \tau)$, the
    divergence is $\mathrm{KL}(p_t \| p_s) = \sum p_t (\log p_t - \log p_s)$ or the
    cross-entropy $-\sum p_t \log p_s$. Both have the same gradient. A single output
    unit is a Bernoulli variable: sigmoid instead of softmax, two classes. Of a set of
    labels (`output_kind="bernoulli"`) it is the sum over the labels; of values
    (`"continuous"`) the mean squared error, without a temperature.

    Convention: the mean over all examples and positions, with the factor `tau ** 2`.
    For outputs `(batch, classes)` that is torch's `"batchmean"` times `tau ** 2`.

    It is exact at every temperature, and near 0: for `tau` to infinity it is the
    squared error of centred logits, $\lVert g - f \rVert^2 / 2k$. A logit below -1e9,
    the `-inf` of a class that is banned among them, counts as -1e9.

    Args:
        temperature: `tau` in [1e-6, 1e6].
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

    needs_kind = True

    def __init__(
        self,
        temperature: float = 4.0,
        divergence: Literal["kl_divergence", "cross_entropy"] = "kl_divergence",
    ):
        self.temperature = check_temperature("temperature", temperature)
        check_choice("divergence", divergence, _DIVERGENCES)
        self.divergence = divergence

    def compute_loss(
        self,
        teacher_outputs: Any,
        student_outputs: Any,
        sample_weight: Any = None,
        output_kind: Any = None,
        **kwargs: Any,
    ) -> Any:
        """The loss of one batch.

        Args:
            teacher_outputs: logits `(batch, ..., classes)`, or a structure of such.
            student_outputs: logits of the same shape.
            sample_weight: `(batch,)` or `(batch, ...)`.
            output_kind: what the outputs are, `"categorical"`, `"bernoulli"` or
                `"continuous"`, one for all or a structure of names; `None` for
                classes.

        Returns:
            Scalar.
        """
        return sum_over_leaves(
            self._leaf_loss,
            teacher_outputs,
            student_outputs,
            sample_weight=sample_weight,
            output_kind=output_kind,
        )

    def _leaf_loss(
        self,
        teacher: Any,
        student: Any,
        outputs: Any,
        sample_weight: Any,
        output_kind: str | None,
    ) -> Any:
        kind = kind_of(output_kind, student.shape[-1])
        measure = kind.divergence
        if self.divergence == "cross_entropy":
            measure = kind.cross_entropy
        divergence = measure(teacher, student, self.temperature)
        valid = valid_positions(outputs, divergence.dtype)
        scale = self.temperature**2 if kind.SOFTENS else 1.0
        return scale * weighted_mean(divergence, valid, sample_weight)

    def get_config(self) -> dict[str, Any]:
        return {"temperature": self.temperature, "divergence": self.divergence}
