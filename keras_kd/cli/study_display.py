"""How a running study is shown: the grid, and the training that is on."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from keras_kd.cli.display import console
from keras_kd.progress import PlainLines, line_of

if TYPE_CHECKING:
    import keras


class StudyDisplay:
    """Bars in a terminal; elsewhere a line for each student and teacher, and one now
    and then for the training that is on."""

    def __init__(self) -> None:
        columns = (BarColumn(bar_width=16), MofNCompleteColumn(), TimeElapsedColumn())
        text = TextColumn("{task.description}")
        self.grid = Progress(text, *columns, TimeRemainingColumn(), console=console)
        self.one = Progress(*columns, text, console=console)
        self.live = Live(Group(self.grid, self.one), console=console)
        self.lines = PlainLines(console, lambda: [line_of(t) for t in self.one.tasks])
        self._students: TaskID | None = None

    def __enter__(self) -> Self:
        self.live.start()
        self.lines.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.lines.stop()
        self.live.stop()

    def training(self, label: str, epochs: int) -> keras.callbacks.Callback:
        """A training begins; the callback goes along."""
        import keras

        for task in self.one.task_ids:
            self.one.remove_task(task)
        task = self.one.add_task(label, total=epochs)

        def on_epoch_end(epoch: int, logs: dict[str, float]) -> None:
            self.one.update(task, completed=epoch + 1)
            self.lines.say_if_due()

        return keras.callbacks.LambdaCallback(on_epoch_end=on_epoch_end)

    def finished(self, done: int, cells: int, record: dict[str, Any] | None) -> None:
        """So many of the cells are done, the last with this record."""
        if self._students is None:
            self._students = self.grid.add_task("students", total=cells)
        # More than at first, where higher learning rates turn out to be needed.
        self.grid.update(self._students, completed=done, total=cells)
        if record is None:
            return
        result = (
            f"{record['cell']}  test accuracy {100 * record['test_accuracy']:.2f} %"
            f"  {record['seconds']:.0f} s"
        )
        if self.lines.needed:
            self.lines.say(f"students {done}/{cells}  {result}")
        else:
            console.print(result, highlight=False)
