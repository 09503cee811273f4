"""Hold: the right to write into a trajectory's folder, one recorder's at a time."""

import threading
import weakref
from pathlib import Path

from keras_kd.files import FolderLock

_holds: "weakref.WeakValueDictionary[Path, Hold]" = weakref.WeakValueDictionary()


class Hold:
    """Keeps all other recorders out of a folder until it is let go.

    A training that an exception has ended does not say so to its callbacks, and the
    traceback may keep them alive: one that the same thread has begun since, or whose
    thread is gone, gives way.

    Args:
        folder: which is there.
        training: an object of the training at hand, the same for all its callbacks.

    Raises:
        BlockingIOError: another recorder has it.
    """

    def __init__(self, folder: Path, training: object) -> None:
        self._folder = folder.resolve()
        self._training = training
        self._thread = threading.current_thread()
        self._lost = False
        before = _holds.get(self._folder)
        if before is not None and before._is_over(training):
            before._lost = True
            before.let_go()
        self._lock = FolderLock(self._folder, self._busy())
        _holds[self._folder] = self

    def check(self) -> None:
        """Refuses to go on where another training has taken the folder meanwhile.

        Raises:
            BlockingIOError: it has.
        """
        if self._lost:
            raise BlockingIOError(self._busy())

    def let_go(self) -> None:
        """Lets others in."""
        self._lock.release()

    def _is_over(self, training: object) -> bool:
        here = self._thread is threading.current_thread()
        return self._training is not training and (here or not self._thread.is_alive())

    def _busy(self) -> str:
        return (
            f"Another TrajectoryRecorder records in '{self._folder}'. "
            "Give each one a folder of its own, or wait until the other has ended."
        )
