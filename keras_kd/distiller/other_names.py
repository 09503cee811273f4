"""What other distillers call the arguments, told to who writes them here."""

import functools
import inspect
from collections.abc import Mapping
from typing import Any, Self

import keras

# Of Keras's `keras.distillation.Distiller`, and of the `Distiller` of keras.io's
# tutorial, by where they are given.
_OF_CONSTRUCTOR = {
    "student_loss_weight": "alpha=1 - student_loss_weight",
    "temperature": "distillation_losses=keras_kd.losses.SoftTargets(temperature)",
    "student_loss_fn": "compile(loss=...)",
    "student_loss": "compile(loss=...)",
    "distillation_loss_fn": "distillation_losses=...",
    "distillation_loss": "distillation_losses=...",
    "losses": "distillation_losses=...",
    "loss_weights": "distillation_loss_weights=...",
    "strategy": "distillation_losses=...",
}
_OF_COMPILE = {
    "student_loss_fn": "compile(loss=...)",
    "student_loss": "compile(loss=...)",
    "distillation_loss_fn": "Distiller(distillation_losses=...)",
    "distillation_loss": "Distiller(distillation_losses=...)",
    "distillation_losses": "Distiller(distillation_losses=...)",
    "distillation_loss_weights": "Distiller(distillation_loss_weights=...)",
    "student_loss_weight": "Distiller(alpha=1 - student_loss_weight)",
    # There it is the weight of the labels.
    "alpha": "Distiller(alpha=1 - alpha), whose alpha is the weight of the teacher",
    "temperature": (
        "Distiller(distillation_losses=keras_kd.losses.SoftTargets(temperature))"
    ),
}


class TranslatesOtherNames(keras.Model):
    """A model that is told what other distillers call its arguments.

    Raises:
        TypeError: an argument has the name that it has elsewhere; the message says what
            to write for each.
    """

    def __new__(cls, *arguments: Any, **named: Any) -> Self:
        # A subclass may call its own arguments so.
        own = inspect.signature(cls.__init__).parameters
        others = {name: value for name, value in named.items() if name not in own}
        _check_names("Distiller", others, _OF_CONSTRUCTOR)
        model: Self = super().__new__(cls, *arguments, **named)
        return model

    @functools.wraps(keras.Model.compile)
    def compile(self, *arguments: Any, **named: Any) -> None:
        """Says how to train, as `keras.Model.compile`."""
        _check_names("compile", named, _OF_COMPILE)
        super().compile(*arguments, **named)

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles as a file says; Keras does it for its own `compile` only."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:
            self.optimizer.build(self.trainable_variables)


def _check_names(
    function: str, named: Mapping[str, Any], translations: Mapping[str, str]
) -> None:
    known = [name for name in named if name in translations]
    if not known:
        return
    ways = "; ".join(f"for `{name}` write {translations[name]}" for name in known)
    raise TypeError(
        f"`{function}` has other names than the `Distiller` of Keras and of keras.io: "
        f"{ways}. Received: {', '.join(known)}"
    )
