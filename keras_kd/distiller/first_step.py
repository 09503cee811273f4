"""A look at the first step of a `fit`."""

from collections.abc import Mapping
from typing import Any

from keras import ops


class FirstStep:
    """Refuses NaN after the first step of a `fit`, for the cost of one look."""

    def __init__(self) -> None:
        self._is_next = False

    def begin(self) -> None:
        """The next step is the first."""
        self._is_next = True

    def look_at(self, logs: Mapping[str, Any]) -> None:
        """Looks at the logs of a step, if it is the first.

        Raises:
            ValueError: the outputs of the teacher, or of the student, are not finite.
        """
        if not self._is_next:
            return
        self._is_next = False

        def is_finite(name: str) -> bool:
            return bool(ops.isfinite(ops.convert_to_tensor(logs[name])))

        if not is_finite("distillation_loss"):
            culprit = "the student's outputs or a distillation loss are not finite"
            if "fidelity" not in logs:
                culprit = f"the teacher's outputs, {culprit}"
            elif not is_finite("fidelity"):
                culprit = "the teacher's outputs are not finite"
            raise ValueError(
                f"The distillation loss is {float(logs['distillation_loss'])} after "
                f"the first step: {culprit}. Check the inputs (scaled as the teacher "
                "was trained?) and the learning rate."
            )
