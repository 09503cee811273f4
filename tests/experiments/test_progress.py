"""Progress where nothing can be redrawn: lines with the time, now and then."""

import datetime
import io
import threading

import pytest
from rich.console import Console
from rich.progress import TextColumn

from keras_kd.cli import study_display
from keras_kd.progress import PlainLines, Progress

pytestmark = pytest.mark.once


class Clock:
    """Stands still until it is told to go on."""

    def __init__(self):
        self.seconds = 0.0

    def time(self):
        return self.seconds

    def of_day(self):
        noon = datetime.datetime(2026, 1, 1, 12)
        return noon + datetime.timedelta(seconds=self.seconds)


@pytest.fixture
def clock():
    return Clock()


def console_of(clock, **options):
    return Console(
        file=io.StringIO(),
        width=40,
        get_time=clock.time,
        get_datetime=clock.of_day,
        **options,
    )


@pytest.fixture
def console(clock):
    return console_of(clock)


def written(console):
    return console.file.getvalue().splitlines()


def test_a_line_every_so_often_and_one_at_each_end(clock, console):
    progress = Progress(TextColumn("{task.description}"), console=console)
    with progress:
        one = progress.add_task("[bold]teacher[/bold]", total=100, logs="")
        for epoch in range(100):
            clock.seconds += 10
            progress.update(one, completed=epoch + 1, logs=f"accuracy {epoch}")
        other = progress.add_task("a label that is far longer than a line", total=2)
        clock.seconds += 31
        progress.advance(other)
        progress.advance(other)
        lines = written(console)
    assert lines[:2] == [
        "12:00:30  teacher  3/100  0:00:30  accuracy 2",
        "12:01:00  teacher  6/100  0:01:00  accuracy 5",
    ]
    assert len(lines) == 33 + 1 + 2
    assert lines[-3] == "12:16:40  teacher  100/100  0:16:40  accuracy 99"
    # Whole, whatever the width; nothing of what is finished.
    assert lines[-2:] == [
        f"12:17:11  a label that is far longer than a line  {done}/2  0:00:31"
        for done in (1, 2)
    ]


def test_quick_work_is_one_line(console):
    with Progress(console=console) as progress:
        task = progress.add_task("kernel", total=3)
        for _ in range(3):
            progress.advance(task)
        # It is finished once.
        progress.advance(task)
        assert written(console) == ["12:00:00  kernel  3/3  0:00:00"]


def test_nothing_is_written_where_bars_are_drawn_or_nothing_is_asked_for(clock):
    for options, disable in (
        ({"force_terminal": True}, False),
        ({"quiet": True}, False),
        ({}, True),
    ):
        console = console_of(clock, **options)
        with Progress(console=console, disable=disable) as progress:
            task = progress.add_task("kernel", total=2)
            clock.seconds += 100
            progress.advance(task)
            progress.advance(task)
        assert "12:0" not in console.file.getvalue()


def test_a_dumb_terminal_gets_lines(clock, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    console = console_of(clock, force_terminal=True)
    with Progress(console=console) as progress:
        progress.advance(progress.add_task("kernel", total=1))
        assert written(console) == ["12:00:00  kernel  1/1  0:00:00"]


def test_an_epoch_that_takes_an_hour_is_not_silent(clock, console):
    """The thread looks at the clock, also while nothing is finished."""
    told = threading.Event()

    def state():
        told.set()
        return ["teacher  0/3"]

    lines = PlainLines(console, state, every=0.02)
    lines.start()
    assert not told.wait(0.1)  # the clock stands still
    clock.seconds = 3600
    assert told.wait(60)
    lines.stop()
    assert written(console)[0] == "13:00:00  teacher  0/3"
    assert lines.thread is None


def test_what_stops_says_no_more(clock, console):
    with Progress(console=console, every=0.02) as progress:
        progress.add_task("kernel", total=2)
    before = console.file.getvalue()
    clock.seconds = 3600
    assert not any(t.name == PlainLines.THREAD for t in threading.enumerate())
    assert console.file.getvalue() == before


def test_a_study(clock, console, monkeypatch):
    monkeypatch.setattr(study_display, "console", console)
    record = {"cell": "digits/teacher/seed-0", "test_accuracy": 0.5, "seconds": 62.0}
    with study_display.StudyDisplay() as display:
        display.finished(0, 12, None)
        training = display.training("teacher resnet8, seed 0", 5)
        for epoch in range(5):
            clock.seconds += 20
            training.on_epoch_end(epoch, {})
        display.finished(0, 12, record)
        lines = written(console)
    assert lines == [
        "12:00:40  teacher resnet8, seed 0  2/5  0:00:40",
        "12:01:20  teacher resnet8, seed 0  4/5  0:01:20",
        "12:01:40  students 0/12  digits/teacher/seed-0  test accuracy 50.00 %  62 s",
    ]


def test_a_study_in_a_terminal(clock, monkeypatch):
    console = console_of(clock, force_terminal=True)
    monkeypatch.setattr(study_display, "console", console)
    record = {"cell": "one", "test_accuracy": 0.5, "seconds": 62.0}
    with study_display.StudyDisplay() as display:
        display.finished(1, 2, record)
    assert "one  test accuracy 50.00 %  62 s" in console.file.getvalue()
    assert "12:00:00" not in console.file.getvalue()
