"""A word where an epoch ends with numbers that are none."""

import math
import numbers
import warnings
from collections.abc import Mapping
from typing import Any

import keras
from keras import ops


class FiniteLogs(keras.callbacks.Callback):
    """Warns once in a `fit` where an epoch ends with a loss, or weights, of NaN.

    The first step is looked at by itself. What spoils a later one, a batch that holds
    NaN or a training that diverges, stays in the weights and shows here, for the cost
    of a look at each weight an epoch. (Not always in the loss: on TensorFlow a ReLU may
    make zero of NaN on its way forward, and NaN on its way back.)
    """

    def __init__(self) -> None:
        super().__init__()
        self._told = False

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """A `fit` of its own: once more."""
        self._told = False

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Looks at the logs of an epoch, and at the weights."""
        if self._told:
            return
        wrong = [
            f"{name}={float(value)}"
            for name, value in (logs or {}).items()
            if name.endswith("loss")  # others may be NaN by what they mean
            and isinstance(value, numbers.Real)
            and not math.isfinite(value)
        ]
        if not wrong and self.model is not None:  # in a `CallbackList` of one's own
            for variable in self.model.trainable_variables:
                if not bool(ops.all(ops.isfinite(variable))):
                    wrong = [f"NaN or infinity in the weights '{variable.path}'"]
                    break
        if wrong:
            self._told = True
            validated = all(name.startswith("val_") for name in wrong)
            what = "the validation data hold" if validated else "a batch holds"
            warnings.warn(
                f"Epoch {epoch + 1} ended with {', '.join(wrong)}: {what} NaN or "
                "infinite values (of inputs, labels or weights), or the training has "
                "diverged. Check the data, or lower the learning rate; "
                "`keras.callbacks.TerminateOnNaN` stops at the first batch of training "
                "whose loss is NaN.",
                stacklevel=2,
            )
