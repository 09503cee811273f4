"""A teacher that is trained along with its student, in the same run."""

from typing import Any

from keras_kd.forward import tapping, view_of
from keras_kd.teachers.finite_weights import check_finite_weights
from keras_kd.teachers.live import LiveTeacher
from keras_kd.teachers.supervision import Clock, Supervision


class TrainedAlong(LiveTeacher):
    """Speaks within the student's forward pass, so that its own loss reaches it.

    Args:
        model, form, layers: as of `LiveTeacher`. Whoever trains it tracks the model.
    """

    def check(self) -> None:
        """Refuses a model with NaN or infinite weights; its state may move."""
        check_finite_weights(self.model, self.model.name)

    def state(self) -> None:
        """None to pass along: the state is part of what is trained."""

    def supervise(
        self, batch: Any, state: Any, training: bool
    ) -> tuple[Supervision | None, Any]:
        """Nothing before the forward pass."""
        return None, batch

    def accompany(self, inputs: Any, training: bool) -> Supervision | None:
        """The word on a batch, within the differentiated part.

        Args:
            inputs: what the model takes.
            training: whether it runs as in training.
        """
        inputs = view_of(inputs, "teacher", self.model)
        with tapping(self.layers.values()) as taps:
            outputs = self.model(inputs, training=training)
        return Supervision(outputs, taps)

    def follow(self, clock: Clock) -> None:
        """Refuses: a teacher that is trained has no recorded stages to go through.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            "OnlineTeacher needs a teacher that is not trained with the model, as in "
            "`keras_kd.Distiller(..., train_teacher=False)`. Received: teacher "
            f"'{self.model.name}', which is trained."
        )
