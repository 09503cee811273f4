"""One step: what the forward pass hands to the loss."""

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Any

from keras_kd.forward import Taps
from keras_kd.teachers.supervision import Supervision


class Step:
    """What is known of the step that runs.

    Args:
        supervision: what the teacher says of the batch, `None` without a teacher.
        numbers: those that it was passed, see `LiveNumbers`.
    """

    def __init__(self, supervision: Supervision | None, numbers: Any = None):
        self.supervision = supervision
        self.numbers = numbers
        self.student_taps: Taps | None = None

    @property
    def said(self) -> Supervision:
        """The supervision, where it is known that there is one."""
        assert self.supervision is not None
        return self.supervision


# One step per thread: the replicas of a tf.distribute strategy trace in threads of
# their own.
_current: contextvars.ContextVar[Step | None] = contextvars.ContextVar(
    "distillation_step", default=None
)


def current_step() -> Step | None:
    """The step that runs in this thread, if any."""
    return _current.get()


@contextlib.contextmanager
def running_step(
    supervision: Supervision | None, numbers: Any = None
) -> Iterator[Step]:
    """Makes a step the current one inside the block."""
    step = Step(supervision, numbers)
    token = _current.set(step)
    try:
        yield step
    finally:
        _current.reset(token)


class Running:
    """Whether a `fit` runs, which is a block under it."""

    def __init__(self) -> None:
        self.now = False

    def __enter__(self) -> None:
        self.now = True

    def __exit__(self, *error: object) -> None:
        self.now = False
