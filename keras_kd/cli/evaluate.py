"""`keras-kd evaluate`: what a model is worth on the test images."""

from pathlib import Path
from typing import Annotated

import typer

from keras_kd.cli.display import console
from keras_kd.cli.options import Data, DataFolder
from keras_kd.cli.run_folder import load_model


def command(
    model: Annotated[Path, typer.Argument(help="A run's folder, or a .keras file.")],
    dataset: Data = "digits",
    teacher: Annotated[
        Path | None,
        typer.Option(help="Another one, whose predictions to compare with."),
    ] = None,
    data_folder: DataFolder = None,
) -> None:
    """Accuracy on the test images, and agreement with a teacher."""
    from keras_kd import datasets, experiments

    data = datasets.load(dataset, folder=data_folder)
    accuracy, fidelity = experiments.evaluate(
        load_model(model), data, load_model(teacher) if teacher else None
    )
    console.print(f"test accuracy {100 * accuracy:.2f} %")
    if fidelity is not None:
        console.print(f"fidelity      {100 * fidelity:.2f} %")
