"""One step: what the forward pass hands to the loss."""

import contextlib
import contextvars
from collections.abc import Iterator

from keras_kd.forward import Taps
from keras_kd.teachers.supervision import Supervision


class Step:
    """What is known of the step that runs.

    Args:
        supervision: what the teacher says of the batch, `None` without a teacher.
    """

    def __init__(self, supervision: Supervision | None):
        self.supervision = supervision
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
def running_step(supervision: Supervision | None) -> Iterator[Step]:
    """Makes a step the current one inside the block."""
    step = Step(supervision)
    token = _current.set(step)
    try:
        yield step
    finally:
        _current.reset(token)
