"""`keras-kd demo`: what distillation gives, seen in minutes."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from keras_kd.cli.display import console, training_bar, training_progress
from keras_kd.cli.options import DataFolder, folder_to_write
from keras_kd.experiments.names import DemoName

if TYPE_CHECKING:
    from keras_kd.experiments.training import Run


def command(
    dataset: Annotated[DemoName, typer.Option(help="Real images.")] = "digits_overlay",
    seeds: Annotated[int, typer.Option(min=1, help="Repetitions.")] = 3,
    out: Annotated[
        Path, typer.Option(help="Folder to write to.", callback=folder_to_write)
    ] = Path("runs/demo"),
    data_folder: DataFolder = None,
) -> None:
    """A teacher, and one student without it, offline and online, in minutes."""
    import keras

    from keras_kd import experiments

    console.print(
        f"[bold]{dataset}[/bold] on {keras.backend.backend()}: a teacher is trained "
        "and recorded, then the same student learns from labels alone (no teacher), "
        "from the final teacher (offline) and from its checkpoints in turn (online)."
    )
    with training_progress() as progress:
        runs = experiments.demo(
            dataset,
            seeds,
            out,
            data_folder,
            lambda label, seed, epochs: training_bar(
                progress, f"seed {seed}: {label}", epochs
            ),
        )
    _print_table(runs)
    console.print(f"curves: {out / dataset / 'curves.png'}")
    console.print(f"all numbers: {out / dataset / 'results.json'}")


def _print_table(runs: dict[str, list[Run]]) -> None:
    """Test accuracy and fidelity of every method, mean and standard error."""
    from keras_kd.experiments.mean_and_error import percent

    n = len(next(iter(runs.values())))
    table = Table(
        title="Test images, percent: mean"
        + (f" ± standard error over {n} seeds" if n > 1 else " of one seed")
    )
    table.add_column("method")
    for column in ("accuracy", "fidelity", "seconds a run"):
        table.add_column(column, justify="right")
    names = {"teacher": "teacher", "none": "student, no teacher"}
    for mode, of_mode in runs.items():
        fidelity = [r.fidelity for r in of_mode if r.fidelity is not None]
        table.add_row(
            names.get(mode, f"student, {mode}"),
            percent([r.accuracy for r in of_mode]),
            "" if mode == "teacher" else percent(fidelity),
            f"{statistics.fmean(r.seconds for r in of_mode):.0f}",
        )
    console.print(table)
    if n > 1:
        gains = [
            online.accuracy - offline.accuracy
            for online, offline in zip(runs["online"], runs["offline"], strict=True)
        ]
        console.print(
            f"online - offline, seed by seed: {percent(gains)} points of accuracy"
        )
