"""A live teacher: a frozen model that is run on every batch."""

from collections.abc import Mapping
from typing import Any

import keras

from keras_kd.forward import call_without_side_effects, output_spec, tapping, view_of
from keras_kd.outputs import Kind, inferred_kinds, output_names
from keras_kd.teachers.finite_weights import check_finite_weights
from keras_kd.teachers.no_memory import check_no_memory
from keras_kd.teachers.supervision import Clock, Supervision


class LiveTeacher:
    """Holds a teacher outside Keras's tracking and calls it without side effects.

    Because a plain object holds the model, it is neither trained, nor saved, nor
    donated with the student's state, and its losses and metrics stay its own.

    Args:
        model: a built `keras.Model`.
        form: `"logits"` or `"probabilities"`, what it gives.
        layers: the model's layers to tap, by path.
    """

    def __init__(
        self, model: keras.Model, form: str, layers: Mapping[str, keras.layers.Layer]
    ):
        self.teacher = self.model = model
        self.form = form
        self.layers = layers
        self._stages: Any = None

    def output_kinds(self, names: list[str]) -> list[Kind | None]:
        """What is known of its outputs: by their activation, by its compiled loss."""
        outputs = output_spec(self.model)
        own = names if outputs is None else output_names(self.model, outputs)
        if hasattr(self.model, "known_output_kinds"):  # a mean of others
            known: list[Kind | None] = self.model.known_output_kinds(own)
        else:
            known = inferred_kinds(own, [self.model], [self._loss()])
        if len(known) == len(names):
            return known  # as the student's, in their order
        # Several students learn from one word.
        return known * len(names) if len(known) == 1 else [None] * len(names)

    def _loss(self) -> Any:
        """What the model was compiled with."""
        return getattr(self.model, "loss", None)

    def check(self) -> None:
        """Refuses a model with NaN or infinite weights, or one that remembers batches.

        Raises:
            ValueError: names the first such variable, or layer.
        """
        check_no_memory(self.model)
        check_finite_weights(self.model, self.model.name)

    def prepare_fit(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments of `fit`, as they are: teacher and student see the same."""
        return arguments

    def prepare_evaluate(self, data: tuple[Any, ...], batch_size: int | None) -> Any:
        """Data to evaluate on, as they are."""
        return data

    def state(self) -> Any:
        """The model's state as two lists of tensors: trainable, non-trainable."""
        return (
            [v.value for v in self.model.trainable_variables],
            [v.value for v in self.model.non_trainable_variables],
        )

    def say(self, inputs: Any, state: Any = None) -> Supervision:
        """The teacher's word on a batch, in inference mode.

        Args:
            inputs: what the model takes.
            state: to use instead of the model's own, as from `state()`.
        """
        trainable, non_trainable = self.state() if state is None else state
        with tapping(self.layers.values()) as taps:
            outputs = call_without_side_effects(
                self.model, inputs, trainable, non_trainable
            )
        return Supervision(outputs, taps)

    def supervise(
        self, batch: Any, state: Any, training: bool
    ) -> tuple[Supervision | None, Any]:
        """The word on a batch `(x, y, sample_weight)`, and the batch as it is."""
        x, _, _ = keras.utils.unpack_x_y_sample_weight(batch)
        return self.say(view_of(x, "teacher", self.model), state), batch

    def accompany(self, inputs: Any, training: bool) -> Supervision | None:
        """Nothing more: all was said before the student's forward pass."""
        return None

    def follow(self, clock: Clock) -> None:
        """Prepares for the stages of a trajectory.

        Raises:
            ValueError: they are no weights of this model, or cannot be read.
            FileNotFoundError: one is missing.
        """
        stages = clock.trajectory
        if not hasattr(stages, "load"):
            raise ValueError(
                "OnlineTeacher needs a distiller that learns from the cache. Received: "
                f"{stages!r}, and a distiller with a teacher that runs, "
                f"'{self.model.name}'. Pass the cache as the distiller's teacher."
            )
        stages.check(self.model)
        self._stages = stages

    def use(self, stage: int) -> None:
        """Loads a stage's weights into the model, in place."""
        self._stages.load(stage, self.model)

    def cause_of(self, error: Exception) -> Exception:
        """What made `fit` fail: the error itself."""
        return error
