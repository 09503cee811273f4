"""Feature hints: a teacher's layer guides a student's."""

from typing import Any

import keras
from keras import ops

from keras_kd.arguments import check_layer_name
from keras_kd.forward import (
    call_without_side_effects,
    on_an_example,
    output_shapes,
)
from keras_kd.losses.feature_maps import check_channels_last, pool_to_same_size
from keras_kd.losses.leafwise import Shape, comparable, dimensions_agree
from keras_kd.losses.reduction import weighted_mean
from keras_kd.outputs import valid_positions
from keras_kd.written import as_written


@keras.saving.register_keras_serializable(package="keras_kd")
class FeatureHint(keras.layers.Layer, keras.distillation.DistillationLoss):
    r"""Mean squared error of features, $\frac1c \lVert a_t - r(a_s) \rVert^2$.

    Where the channel counts differ, `r` is a learned linear projection of the
    student's channels to the teacher's (a 1x1 convolution for feature maps), trained
    and saved with the distiller and no part of the student; else it is the identity.
    Where heights or widths of feature maps differ, the longer is average-pooled to the
    shorter, as by adaptive pooling; sequences must have the same length. Channels are
    last.

    Convention: the mean over channels, positions and examples; the paper has the sum
    and a factor 1/2.

    Args:
        teacher_layer_name: the path of the layer that gives the hint, features
            `(batch, ..., channels)`; `None` means the model's output.
        student_layer_name: the path of the guided layer; `None` likewise.
        name: the layer's name.
        **kwargs: `dtype` and `trainable` of the projection, as in
            `keras.layers.Layer`.

    Raises:
        ValueError: something that is no name.

    Source: Romero et al., "FitNets: Hints for Thin Deep Nets", ICLR 2015, equation 3.

    Example:

    >>> def network(width):
    ...     layers = [keras.Input((6,)), keras.layers.Dense(width, name="features")]
    ...     return keras.Sequential([*layers, keras.layers.Dense(3)])
    >>> hint = FeatureHint("features", "features")
    >>> distiller = keras.distillation.Distiller(network(8), network(4), hint)
    >>> print(hint.projection.kernel.shape)
    (4, 8)
    """

    def __init__(
        self,
        teacher_layer_name: str | None,
        student_layer_name: str | None,
        name: str = "feature_hint",
        **kwargs: Any,
    ):
        check_layer_name("teacher_layer_name", teacher_layer_name)
        check_layer_name("student_layer_name", student_layer_name)
        super().__init__(name=name, **kwargs)
        self.teacher_layer_name = teacher_layer_name
        self.student_layer_name = student_layer_name
        self.projection: keras.layers.Dense | None = None
        self._channels: tuple[int | None, int | None] | None = None

    def build(self, teacher_shape: Shape, student_shape: Shape) -> None:
        """Creates the projection, if one is needed.

        Args:
            teacher_shape: of the teacher's features, `(batch, ..., channels)`.
            student_shape: of the student's features.
        """
        self._channels = (teacher_shape[-1], student_shape[-1])
        if teacher_shape[-1] != student_shape[-1]:
            # Losses are computed in float32 at least, whatever the policy.
            wide = self.variable_dtype == "float64"
            self.projection = keras.layers.Dense(
                teacher_shape[-1],
                trainable=self.trainable,
                dtype="float64" if wide else "float32",
                name="projection",
            )
            self.projection.build(tuple(student_shape))

    def validate_model_compatibility(
        self, teacher: keras.Model, student: keras.Model
    ) -> None:
        """Finds the features' channels and creates the projection, if not done yet.

        Raises:
            ValueError: a model has no such layer or is not built, channels are first,
                ranks differ, or the projection was made for other channels.
        """
        check_channels_last("teacher_layer_name", teacher, self.teacher_layer_name)
        check_channels_last("student_layer_name", student, self.student_layer_name)
        teacher_shape = _feature_shape(teacher, self.teacher_layer_name, student)
        student_shape = _feature_shape(student, self.student_layer_name, teacher)
        # Lengths are not compared yet: those of one example stand for open ones.
        self._check_rank_and_channels(teacher_shape, student_shape)
        if not self.built:
            self.build(teacher_shape, student_shape)

    def validate_outputs(self, teacher_outputs: Any, student_outputs: Any) -> None:
        """Refuses features that cannot be compared.

        Raises:
            ValueError: several tensors instead of one, shapes that disagree, or
                channels that the projection was not made for.
        """
        for argument, value in (
            ("teacher_outputs", teacher_outputs),
            ("student_outputs", student_outputs),
        ):
            if keras.tree.is_nested(value):
                raise ValueError(
                    f"`{argument}` must be one tensor for FeatureHint. Received: a "
                    f"structure of {len(keras.tree.flatten(value))}. Use a FeatureHint "
                    "for each pair of layers."
                )
        teacher_shape = tuple(teacher_outputs.shape)
        student_shape = tuple(student_outputs.shape)
        self._check_rank_and_channels(teacher_shape, student_shape)
        # Only feature maps are pooled to a common size.
        compared = 1 if len(student_shape) >= 4 else len(student_shape) - 1
        if not all(map(dimensions_agree, teacher_shape[:compared], student_shape)):
            raise ValueError(
                "FeatureHint needs features of the same batch, and sequences of the "
                f"same length. Received: shapes {teacher_shape} and {student_shape}"
            )
        if not self.built and teacher_shape[-1] != student_shape[-1]:
            raise ValueError(
                "FeatureHint needs its projection where channels differ. Received: "
                f"shapes {teacher_shape} and {student_shape}. Call "
                "`validate_model_compatibility(teacher, student)` first, as a "
                "distiller does."
            )

    def _check_rank_and_channels(
        self, teacher_shape: Shape, student_shape: Shape
    ) -> None:
        if not len(teacher_shape) == len(student_shape) > 1:
            raise ValueError(
                "FeatureHint needs features `(batch, ..., channels)` of the same rank. "
                f"Received: shapes {teacher_shape} and {student_shape}"
            )
        channels = (teacher_shape[-1], student_shape[-1])
        if self.built and channels != self._channels:
            raise ValueError(
                "The teacher's and the student's channels must be those that "
                f"FeatureHint was built for, {self._channels}. Received: {channels}"
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
            teacher_outputs: features `(batch, ..., channels)`.
            student_outputs: features of the same rank.
            sample_weight: `(batch,)` or `(batch, ...)`.

        Returns:
            Scalar.
        """
        teacher, student = comparable(teacher_outputs, student_outputs)
        if len(student.shape) >= 4:
            # Before the projection, with which averaging commutes.
            teacher, student = pool_to_same_size(teacher, student)
            valid = None
        else:
            valid = valid_positions(student_outputs, student.dtype)
        if self.projection is not None:
            student = ops.cast(self.projection(student), teacher.dtype)
        errors = ops.mean(ops.square(student - teacher), axis=-1)
        return weighted_mean(errors, valid, sample_weight)

    __repr__ = as_written

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "teacher_layer_name": self.teacher_layer_name,
            "student_layer_name": self.student_layer_name,
        }


def _feature_shape(model: keras.Model, path: str | None, partner: keras.Model) -> Shape:
    """The shape of one example's features."""
    if not model.built:
        raise ValueError(
            "FeatureHint needs built models, to know their channels. Received: model "
            f"'{model.name}', not built. Call it once on a batch."
        )
    if path is not None:
        return output_shapes(model, [path], partner)[path]
    outputs = on_an_example(
        model, lambda zeros: call_without_side_effects(model, zeros), partner
    )
    if keras.tree.is_nested(outputs):
        raise ValueError(
            "FeatureHint needs the name of a layer in a model with several outputs. "
            f"Received: None for model '{model.name}'"
        )
    return tuple(outputs.shape)
