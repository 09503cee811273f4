"""Whether the compiled loss takes outputs in the form that the student gives."""

import warnings
from collections.abc import Mapping
from typing import Any

import keras

from keras_kd.outputs import function_of_loss

_OF_PROBABILITIES = (
    keras.losses.sparse_categorical_crossentropy,
    keras.losses.categorical_crossentropy,
    keras.losses.categorical_focal_crossentropy,
    keras.losses.binary_crossentropy,
    keras.losses.binary_focal_crossentropy,
)


def warn_of_other_form(loss: Any, form: str) -> None:
    """Warns of a cross-entropy from probabilities on logits, and the other way round.

    Args:
        loss: as `keras.Model.compile` takes it.
        form: `"logits"` or `"probabilities"`, what the student gives.
    """
    each = list(loss.values()) if isinstance(loss, Mapping) else loss
    for one in each if isinstance(each, list | tuple) else [each]:
        from_logits = _from_logits(one)
        if from_logits is None or from_logits == (form == "logits"):
            continue
        name = one if isinstance(one, str) else getattr(one, "name", one)
        takes = "logits" if from_logits else "probabilities"
        warnings.warn(
            f"compile(loss={name!r}) takes {takes} and the student gives {form} "
            f"(student_outputs='{form}'): the loss of the labels, and what is learnt "
            "from it, is another one. Pass the loss as an object with "
            f"`from_logits={form == 'logits'}`.",
            stacklevel=4,
        )


def _from_logits(loss: Any) -> bool | None:
    """What a loss takes; `None` where that is not known, or no question."""
    function = function_of_loss(loss)
    if not any(function is known for known in _OF_PROBABILITIES):
        return None
    return bool(getattr(loss, "from_logits", False))
