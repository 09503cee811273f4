"""`keras-kd cache`: a teacher's predictions held in files."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.table import Table

from keras_kd.cli.display import console
from keras_kd.cli.options import DataFolder
from keras_kd.cli.run_folder import settings_of

app = typer.Typer(
    help="A teacher's predictions, computed once and held in files.",
    no_args_is_help=True,
)

Folder = Annotated[Path, typer.Argument(help="A cache's folder.")]


@app.command()
def build(
    run: Annotated[Path, typer.Argument(help="Folder of train-teacher.")],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder to write to; by default RUN/supervision."),
    ] = None,
    dtype: Annotated[
        Literal["float16", "float32"], typer.Option(help="Of what is stored.")
    ] = "float16",
    top_k: Annotated[
        int | None, typer.Option(min=1, help="Keep the k largest logits alone.")
    ] = None,
    data_folder: DataFolder = None,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace another cache that is there."),
    ] = False,
) -> None:
    """What every checkpoint says of its data set's training and test images.

    A build that was stopped goes on where it was.
    """
    settings = settings_of(run)
    from keras_kd import datasets, experiments
    from keras_kd.teachers import TeacherTrajectory

    trajectory = TeacherTrajectory(run / "trajectory")
    data = datasets.load(
        settings["dataset"],
        folder=data_folder or settings["data_folder"],
        n_train=settings["n_train"],
    )
    folder = run / "supervision" if out is None else out
    cache = experiments.cache_supervision(
        trajectory, data, folder, dtype=dtype, top_k=top_k, overwrite=overwrite
    )
    console.print(f"{cache.n:,} images, {len(cache)} checkpoints in {folder}")


@app.command()
def info(folder: Folder) -> None:
    """What a cache holds."""
    from keras_kd.teachers import SupervisionCache

    cache = SupervisionCache(folder)
    kept = "all logits" if cache.top_k is None else f"{cache.top_k} largest logits"
    views = "" if cache.views is None else f", {cache.views} views of each"
    console.print(
        f"teacher    {cache.teacher_name}\n"
        f"examples   {cache.n:,}{views}{', with labels' if cache.has_labels else ''}\n"
        f"stored     {kept} in {cache.dtype}, {cache.size / 1e6:,.1f} MB\n"
        "divergence "
        + ", ".join(
            f"{value:.2g} nats at temperature {temperature}"
            for temperature, value in cache.divergence.items()
        )
    )
    table = Table("checkpoint", "step", "epoch", "accuracy (%)")
    for stage in cache:
        accuracy = "" if stage.accuracy is None else f"{100 * stage.accuracy:.1f}"
        table.add_row(str(stage.index), str(stage.step), str(stage.epoch), accuracy)
    console.print(table)


@app.command()
def verify(folder: Folder) -> None:
    """Read every file of a cache and compare its checksum."""
    from keras_kd.teachers import SupervisionCache

    cache = SupervisionCache(folder)
    cache.verify()
    console.print(f"{folder}: {cache.size / 1e6:,.1f} MB as they were written")
