"""How far long work is: bars in a terminal, a line now and then anywhere else."""

import datetime
import threading
from collections.abc import Callable
from typing import Any

import rich.progress
from rich.console import Console
from rich.progress import ProgressColumn, Task, TaskID
from rich.text import Text

# Seconds from one line to the next.
EVERY = 30.0


class PlainLines:
    """Lines with the time of day, for a log file or a pipe, where nothing is redrawn.

    A thread writes them, so that there is a line also while one epoch takes an hour.

    Args:
        console: where to; its clock counts.
        state: gives the lines that say how far the work is.
        every: seconds without a line after which `state` is told.
    """

    THREAD = "keras_kd progress"

    def __init__(
        self, console: Console, state: Callable[[], list[str]], every: float = EVERY
    ) -> None:
        self.console, self.state, self.every = console, state, every
        self.thread: threading.Thread | None = None
        self._last = console.get_time()
        self._stopped = threading.Event()
        self._lock = threading.Lock()

    @property
    def needed(self) -> bool:
        """Whether the console is none that bars are drawn on."""
        console = self.console
        drawn = console.is_interactive or console.is_jupyter
        return not (drawn or console.quiet)

    def start(self) -> None:
        """Writes from now on."""
        self._last = self.console.get_time()
        if self.needed and self.thread is None:
            self._stopped.clear()
            self.thread = threading.Thread(
                target=self._run, name=self.THREAD, daemon=True
            )
            self.thread.start()

    def stop(self) -> None:
        """Writes no more by itself."""
        if self.thread is not None:
            self._stopped.set()
            self.thread.join()
            self.thread = None

    def say(self, *lines: str) -> None:
        """Writes lines now, if they are needed."""
        with self._lock:
            self._write(lines)

    def say_if_due(self) -> None:
        """Writes how far the work is, if nothing was written for long enough."""
        with self._lock:
            if self.console.get_time() - self._last >= self.every:
                self._write(self.state())

    def _write(self, lines: tuple[str, ...] | list[str]) -> None:
        if not lines or not self.needed:
            return
        self._last = self.console.get_time()
        now = f"{self.console.get_datetime():%H:%M:%S}"
        for line in lines:
            # As long as it is: a file has no width.
            self.console.print(
                f"{now}  {line}", markup=False, highlight=False, soft_wrap=True
            )

    def _run(self) -> None:
        while not self._stopped.wait(self.every / 10):
            self.say_if_due()


class Progress(rich.progress.Progress):
    """`rich.progress.Progress` that is not silent where it cannot draw.

    There it writes a line for each task that is finished, and in between one now and
    then for those that are not.

    Args:
        *columns: of the bars.
        console: where to; `None`: standard output.
        disable: whether to show nothing.
        every: seconds from one line to the next, at least.
    """

    def __init__(
        self,
        *columns: str | ProgressColumn,
        console: Console | None = None,
        disable: bool = False,
        every: float = EVERY,
    ) -> None:
        super().__init__(*columns, console=console, disable=disable)
        self._lines = PlainLines(self.console, self._unfinished, every)

    def start(self) -> None:
        super().start()
        if not self.disable:
            self._lines.start()

    def stop(self) -> None:
        self._lines.stop()
        super().stop()

    def update(self, task_id: TaskID, **changes: Any) -> None:
        finished = self._tasks[task_id].finished
        super().update(task_id, **changes)
        self._tell(self._tasks[task_id], finished)

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        finished = self._tasks[task_id].finished
        super().advance(task_id, advance)
        self._tell(self._tasks[task_id], finished)

    def _tell(self, task: Task, was_finished: bool) -> None:
        if self.disable:
            return
        if task.finished and not was_finished:
            self._lines.say(line_of(task))
        else:
            self._lines.say_if_due()

    def _unfinished(self) -> list[str]:
        return [line_of(task) for task in self.tasks if not task.finished]


def line_of(task: Task) -> str:
    """What is to be done, how much of it is, the time it took, and what else is known.

    >>> from rich.progress import Progress
    >>> progress = Progress()
    >>> task = progress.add_task("kernel", total=8, completed=3)
    >>> line_of(progress.tasks[task])
    'kernel  3/8  0:00:00'
    """
    total = "?" if task.total is None else f"{task.total:g}"
    parts = [
        Text.from_markup(task.description).plain,
        f"{task.completed:g}/{total}",
        str(datetime.timedelta(seconds=int(task.elapsed or 0))),
        *(str(value) for value in task.fields.values()),
    ]
    return "  ".join(part for part in parts if part)
