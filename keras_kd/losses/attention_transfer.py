"""Attention transfer: where the activations are, not what they are."""

from typing import Any

import keras
from keras import ops

from keras_kd.arguments import check_layer_name, check_number
from keras_kd.losses.feature_maps import check_channels_last, pool_to_same_size
from keras_kd.losses.leafwise import (
    LeafwiseLoss,
    Shape,
    dimensions_agree,
    sum_over_leaves,
)
from keras_kd.losses.reduction import weighted_mean

# The least norm that a map is divided by; a map of zeros stays zero.
_EPSILON = 1e-12


@keras.saving.register_keras_serializable(package="keras_kd")
class AttentionTransfer(LeafwiseLoss):
    r"""Squared distance of normalised activation maps, $Q / \lVert Q \rVert_2$.

    $Q = \sum_c |A_c|^p$ is a feature map `A` with its channels summed, flattened to
    one vector per example. Channel counts may differ. Where heights or widths differ,
    the longer is average-pooled to the shorter, as by adaptive pooling; likewise the
    tokens of a sequence.

    Convention: the mean over positions and examples of the squared difference, as the
    authors' code and torchdistill's `ATLoss(mode="code")` have it. The paper's
    equation 2 has the norm of the difference instead, summed over pairs.

    Args:
        teacher_layer_name: the path of a layer that gives `(batch, height, width,
            channels)` or `(batch, tokens, channels)`; `None` means the model's outputs.
        student_layer_name: the same for the student.
        p: power >= 1 of the activations.

    Raises:
        ValueError: `p` < 1, or something that is no name.

    Source: Zagoruyko & Komodakis, "Paying More Attention to Attention", ICLR 2017,
    section 3.1.

    Example:

    >>> teacher = np.array([[[[3.0], [0.0]]]], "float32")
    >>> student = np.array([[[[0.0], [1.0]]]], "float32")
    >>> loss = AttentionTransfer("conv4", "conv2")
    >>> print(float(loss.compute_loss(teacher, student)))
    1.0
    """

    def __init__(
        self,
        teacher_layer_name: str | None,
        student_layer_name: str | None,
        p: float = 2,
    ):
        check_layer_name("teacher_layer_name", teacher_layer_name)
        check_layer_name("student_layer_name", student_layer_name)
        self.teacher_layer_name = teacher_layer_name
        self.student_layer_name = student_layer_name
        self.p = check_number("p", p, at_least=1)

    def validate_model_compatibility(
        self, teacher: keras.Model, student: keras.Model
    ) -> None:
        """Refuses models without these layers, or with their channels first.

        Raises:
            ValueError: names the layer.
        """
        check_channels_last("teacher_layer_name", teacher, self.teacher_layer_name)
        check_channels_last("student_layer_name", student, self.student_layer_name)

    def check_shapes(self, teacher_shape: Shape, student_shape: Shape) -> None:
        feature_maps = len(teacher_shape) == len(student_shape) in (3, 4)
        if not feature_maps or not dimensions_agree(teacher_shape[0], student_shape[0]):
            self.refuse_shapes(
                "that are feature maps `(batch, height, width, channels)` or tokens "
                "`(batch, tokens, channels)`",
                teacher_shape,
                student_shape,
            )

    def compute_loss(
        self,
        teacher_outputs: Any,
        student_outputs: Any,
        sample_weight: Any = None,
        **kwargs: Any,
    ) -> Any:
        """The loss of one batch.

        Args:
            teacher_outputs: feature maps `(batch, height, width, channels)`, or tokens
                `(batch, tokens, channels)`.
            student_outputs: feature maps; all but the batch may differ.
            sample_weight: `(batch,)`.

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
        teacher, student = pool_to_same_size(teacher, student)
        difference = self._attention(student) - self._attention(teacher)
        return weighted_mean(
            ops.mean(ops.square(difference), axis=-1), sample_weight=sample_weight
        )

    def _attention(self, features: Any) -> Any:
        powers = ops.power(ops.abs(features), self.p)
        attention = ops.reshape(ops.mean(powers, axis=-1), (ops.shape(features)[0], -1))
        squared_norm = ops.sum(ops.square(attention), axis=-1, keepdims=True)
        return attention * ops.rsqrt(ops.maximum(squared_norm, _EPSILON**2))

    def get_config(self) -> dict[str, Any]:
        return {
            "teacher_layer_name": self.teacher_layer_name,
            "student_layer_name": self.student_layer_name,
            "p": self.p,
        }
