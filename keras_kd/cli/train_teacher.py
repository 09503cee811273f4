"""`keras-kd train-teacher`: a teacher, recorded while it learns."""

from typing import Annotated

import typer

from keras_kd.cli import run_folder
from keras_kd.cli.display import training_bar, training_progress
from keras_kd.cli.options import (
    BatchSize,
    Data,
    DataFolder,
    Epochs,
    NTrain,
    Out,
    Overwrite,
    Rate,
    Seed,
    Width,
)
from keras_kd.experiments.names import Network


def command(
    out: Out,
    dataset: Data = "digits",
    network: Annotated[Network, typer.Option(help="Teacher.")] = "resnet20",
    width: Width = None,
    epochs: Epochs = 30,
    batch_size: BatchSize = 64,
    learning_rate: Rate = 0.05,
    every: Annotated[int, typer.Option(min=1, help="Record every k epochs.")] = 1,
    ema: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="Record the average of the weights."),
    ] = None,
    n_train: NTrain = None,
    data_folder: DataFolder = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
) -> None:
    """Train a teacher on labels and record its trajectory."""
    settings = dict(locals())
    run_folder.check_free(out, overwrite, records=True)
    from keras_kd import datasets, experiments
    from keras_kd.arguments import check_fraction
    from keras_kd.teachers import TeacherTrajectory

    data = datasets.load(dataset, folder=data_folder, n_train=n_train)
    teacher = experiments.build(
        network, data.x_train.shape[1:], data.classes, seed=seed, width=width
    )
    if ema is not None:  # what is there stays, until all is known to be right
        check_fraction("ema", ema)
    run_folder.clear(out)
    with training_progress() as progress:
        run = experiments.train_teacher(
            teacher,
            data,
            out / run_folder.TRAJECTORY,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            every=every,
            ema=ema,
            overwrite=overwrite,
            seed=seed,
            callbacks=[training_bar(progress, f"teacher {network}", epochs)],
        )
    last = TeacherTrajectory(out / run_folder.TRAJECTORY)[-1]
    run_folder.write(out, teacher, run, settings, last.sha256)
