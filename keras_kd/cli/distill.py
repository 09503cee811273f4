"""`keras-kd distill`: a student, with or without a teacher."""

from pathlib import Path
from typing import Annotated

import typer

from keras_kd.cli import run_folder
from keras_kd.cli.display import training_bar, training_progress
from keras_kd.cli.options import (
    BatchSize,
    DataFolder,
    DatasetName,
    Epochs,
    NTrain,
    Out,
    Overwrite,
    Rate,
    Seed,
    Width,
    finite,
)
from keras_kd.experiments.names import Mode, Network

_TEACHERS_FROM_A_FOLDER = ("offline", "online")
_TAUGHT = (*_TEACHERS_FROM_A_FOLDER, "together")
_MODES_OF_OPTIONS = {
    "teacher": _TEACHERS_FROM_A_FOLDER,
    "cache": _TEACHERS_FROM_A_FOLDER,
    "teacher_network": ("together",),
    "temperature": _TAUGHT,
    "alpha": _TAUGHT,
    "hold": ("online",),
}


def _refuse_unused(context: typer.Context, mode: str) -> None:
    for name, modes in _MODES_OF_OPTIONS.items():
        source = context.get_parameter_source(name)
        if mode not in modes and source is not None and source.name == "COMMANDLINE":
            option = "--" + name.replace("_", "-")
            raise typer.BadParameter(
                f"--mode {mode} makes no use of {option}; it is for --mode "
                f"{' or '.join(modes)}."
            )


def command(
    context: typer.Context,
    out: Out,
    mode: Annotated[
        Mode,
        typer.Option(
            help="none: labels alone; offline: the teacher's last checkpoint; online: "
            "successive checkpoints; together: teacher and student in one run."
        ),
    ] = "online",
    teacher: Annotated[
        Path | None,
        typer.Option(help="Folder of train-teacher (for offline, online)."),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(
            help="Folder of `cache build` of that teacher: its predictions are read "
            "instead of computed."
        ),
    ] = None,
    dataset: Annotated[
        DatasetName | None,
        typer.Option(
            help="Data set; by default the teacher's, with its --n-train and "
            "--data-folder, or digits where there is no teacher."
        ),
    ] = None,
    network: Annotated[Network, typer.Option(help="Student.")] = "lenet5",
    width: Width = None,
    teacher_network: Annotated[
        Network, typer.Option(help="Teacher of --mode together.")
    ] = "resnet20",
    temperature: Annotated[
        float,
        typer.Option(min=0.001, max=1e6, help="Of the soft targets.", callback=finite),
    ] = 4.0,
    alpha: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Weight of the teacher beside labels.", callback=finite
        ),
    ] = 1.0,
    hold: Annotated[
        float,
        typer.Option(help="Share of training, at the end, with the last checkpoint."),
    ] = 0.0,
    epochs: Epochs = 30,
    batch_size: BatchSize = 64,
    learning_rate: Rate = 0.05,
    n_train: NTrain = None,
    data_folder: DataFolder = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
) -> None:
    """Train a student, with or without a teacher."""
    settings = dict(locals())
    del settings["context"]
    _refuse_unused(context, mode)
    if mode in _TEACHERS_FROM_A_FOLDER and teacher is None:
        raise typer.BadParameter(
            f"--mode {mode} needs --teacher, a folder of `keras-kd train-teacher`."
        )
    run_folder.check_free(out, overwrite, records=False)
    from keras_kd import datasets, experiments
    from keras_kd.teachers import SupervisionCache, TeacherTrajectory

    trajectory = None
    if mode in _TEACHERS_FROM_A_FOLDER and teacher is not None:
        of_teacher = run_folder.settings_of(teacher)
        trajectory = TeacherTrajectory(teacher / run_folder.TRAJECTORY)
        if dataset in (None, of_teacher["dataset"]):
            data_folder = data_folder or of_teacher["data_folder"]
            n_train = n_train or of_teacher["n_train"]
        dataset = dataset or of_teacher["dataset"]
    dataset = dataset or "digits"
    settings.update(dataset=dataset, data_folder=data_folder, n_train=n_train)
    supervision = None if cache is None else SupervisionCache(cache)
    data = datasets.load(dataset, folder=data_folder, n_train=n_train)
    shape, classes = data.x_train.shape[1:], data.classes
    student = experiments.build(network, shape, classes, seed=seed, width=width)
    with training_progress() as progress:
        run = experiments.distill(
            mode,
            student,
            data,
            trajectory=trajectory,
            cache=supervision,
            teacher=experiments.build(teacher_network, shape, classes, seed=seed)
            if mode == "together"
            else None,
            temperature=temperature,
            alpha=alpha,
            hold=hold,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            seed=seed,
            callbacks=[training_bar(progress, f"{network}, {mode}", epochs)],
        )
    run_folder.write(out, student, run, settings)
