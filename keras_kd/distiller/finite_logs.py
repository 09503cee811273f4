"""A word where the numbers of an epoch are none."""

import math
import numbers
import warnings
from collections.abc import Mapping
from typing import Any

import keras


class FiniteLogs(keras.callbacks.Callback):
    """Warns once in a `fit` where a loss in the logs of an epoch is NaN or infinite.

    The first step is looked at by itself; what spoils a later one, a batch that holds
    NaN or a training that diverges, stays in the weights and shows here, for the cost
    of a look at numbers that are there.
    """

    def __init__(self) -> None:
        super().__init__()
        self._told = False

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """A `fit` of its own: once more."""
        self._told = False

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Looks at the logs of an epoch."""
        wrong = [
            f"{name}={float(value)}"
            for name, value in (logs or {}).items()
            if name.endswith("loss")  # others may be NaN by what they mean
            and isinstance(value, numbers.Real)
            and not math.isfinite(value)
        ]
        if wrong and not self._told:
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
