"""What a teacher says of one batch."""

from typing import Any, NamedTuple, Protocol


class TappedOutputs(Protocol):
    """What tapped layers gave, as `keras_kd.forward.Taps` or a cache knows it."""

    def output(self, layer: Any) -> Any:
        """The output of one of them."""


class Supervision(NamedTuple):
    """The teacher's outputs, in the form that it gives, and those of tapped layers."""

    outputs: Any
    taps: TappedOutputs


class Clock(Protocol):
    """Which stage of a teacher supervises which batch; `OnlineTeacher` is one."""

    trajectory: Any
    """The stages, in the order of the teacher's training."""
    epoch: int
    """The running epoch."""
    checkpoint: int | None
    """Index of the stage in use, `None` before the first epoch."""

    def checkpoint_at(self, epoch: int, batch: int) -> int:
        """The stage of a batch, counted from the beginning of an epoch."""
