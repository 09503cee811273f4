"""Where the commands write, and how a training is shown there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
)

from keras_kd.progress import Progress

if TYPE_CHECKING:
    import keras

console = Console()


def training_progress() -> Progress:
    """Bars for trainings, one below the other."""
    # A line fits 80 columns: 22 for the longest label, 30 for the longest logs.
    return Progress(
        TextColumn("{task.description:22}"),
        BarColumn(bar_width=10),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[logs]}"),
        console=console,
    )


def training_bar(
    progress: Progress, label: str, epochs: int
) -> keras.callbacks.Callback:
    """A bar for the epochs of one training, moved by the callback."""
    import keras

    task = progress.add_task(label, total=epochs, logs="")

    def on_epoch_end(epoch: int, logs: dict[str, float]) -> None:
        text = f"accuracy {logs['val_accuracy']:.3f}  "
        if "val_fidelity" in logs:
            text += f"fidelity {logs['val_fidelity']:.3f}"
        else:
            text += f"loss {logs['loss']:.3g}"
        progress.update(task, completed=epoch + 1, logs=text)

    return keras.callbacks.LambdaCallback(on_epoch_end=on_epoch_end)
