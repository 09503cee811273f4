"""What several commands can be given."""

import math
from pathlib import Path
from typing import Annotated, Literal

import typer

DatasetName = Literal[
    "digits",
    "fashion_mnist",
    "mnist",
    "cifar10",
    "cifar100",
    "tiny_imagenet",
    "binary_cifar100",
    "binary_fashion_mnist",
    "fashion_overlay",
    "digits_overlay",
]


def finite(value: float) -> float:
    """Refuses NaN, which is in every range, and infinity."""
    if not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number")
    return value


def folder_to_write(path: Path) -> Path:
    """Refuses a place where no folder can be made, before anything is trained."""
    for place in (path, *path.parents):
        if place.is_file():
            raise typer.BadParameter(f"{place} is a file")
    return path


Out = Annotated[
    Path, typer.Argument(help="Folder to write to.", callback=folder_to_write)
]
Data = Annotated[DatasetName, typer.Option(help="Data set.")]
DataFolder = Annotated[
    Path | None,
    typer.Option(help="Where the data set's files are, if not in a usual place."),
]
NTrain = Annotated[int | None, typer.Option(min=1, help="Use so many training images.")]
Width = Annotated[
    float | None,
    typer.Option(
        min=0.01,
        help="Multiple of the filters or units (mlp, convnet, lenet5, mobilenet_v3).",
    ),
]
Epochs = Annotated[int, typer.Option(min=1, help="Passes over the training images.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Images a step.")]
Rate = Annotated[
    float,
    typer.Option(
        "--learning-rate",
        min=0.0,
        max=1e6,
        help="Highest learning rate.",
        callback=finite,
    ),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace a run that is there.")
]
Seed = Annotated[int, typer.Option(help="Of weights and order.")]
