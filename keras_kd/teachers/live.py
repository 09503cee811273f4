"""A live teacher: a frozen model that is run on every batch."""

from typing import Any, NamedTuple, Protocol

import keras

from keras_kd.forward import call_without_side_effects, tapping
from keras_kd.outputs.form import to_logits


class TappedOutputs(Protocol):
    """What tapped layers gave, as `keras_kd.forward.Taps` or a cache knows it."""

    def output(self, layer) -> Any:
        """The output of one of them."""


class Supervision(NamedTuple):
    """What a teacher says of one batch: its logits, and what tapped layers gave."""

    outputs: Any
    taps: TappedOutputs


class LiveTeacher:
    """Holds a teacher outside Keras's tracking and calls it without side effects.

    Because a plain object holds the model, it is neither trained, nor saved, nor
    donated with the student's state, and its losses and metrics stay its own.

    Args:
        model: a built `keras.Model`.
        outputs: `"logits"` or `"probabilities"`.
        layers: the model's layers to tap, by path.
    """

    def __init__(self, model, outputs: str, layers: dict[str, keras.layers.Layer]):
        self.teacher = self.model = model
        self.outputs = outputs
        self.layers = layers

    def values(self):
        """The model's state as two lists of tensors: trainable, non-trainable."""
        return (
            [v.value for v in self.model.trainable_variables],
            [v.value for v in self.model.non_trainable_variables],
        )

    def supervise(self, inputs, values=None) -> Supervision:
        """The teacher's word on a batch, in inference mode.

        Args:
            inputs: what the model takes.
            values: state to use instead of the model's own, as from `values()`.
        """
        trainable, non_trainable = self.values() if values is None else values
        with tapping(self.layers.values()) as taps:
            outputs = call_without_side_effects(
                self.model, inputs, trainable, non_trainable
            )
        return Supervision(to_logits(outputs, self.outputs), taps)

    def supervise_batch(self, batch, values=None) -> tuple[Supervision, Any]:
        """Supervision of a batch `(x, y, sample_weight)`, and the batch."""
        x, _, _ = keras.utils.unpack_x_y_sample_weight(batch)
        return self.supervise(x, values), batch

    def check_finite(self) -> None:
        """Refuses a model with NaN or infinite weights.

        Raises:
            ValueError: names the first such variable.
        """
        check_finite_weights(self.model, self.model.name)


def check_finite_weights(model, name: str) -> None:
    """Refuses a teacher with NaN or infinite weights.

    Its outputs need not show them: a ReLU may make 0 of NaN, as in TensorFlow's
    compiled functions on some processors.

    Args:
        model: the teacher.
        name: what messages call it.

    Raises:
        ValueError: names the first such variable.
    """
    for variable in model.weights:
        if not keras.backend.is_float_dtype(variable.dtype):
            continue
        if not bool(keras.ops.all(keras.ops.isfinite(variable.value))):
            raise ValueError(
                f"The teacher's weights must be finite. Received: teacher '{name}' "
                f"with NaN or infinite values in '{variable.path}'."
            )
