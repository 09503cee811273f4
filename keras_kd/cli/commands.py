"""The command line, `keras-kd`."""

import os

# Before Keras: TensorFlow's start-up messages are not what a user asked for.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import keras
import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)

from keras_kd import datasets, experiments
from keras_kd.cli import studies
from keras_kd.cli.cache import app as cache_app
from keras_kd.complexity import compare_teachers
from keras_kd.experiments.demonstration import DemoName, print_table
from keras_kd.teachers import SupervisionCache, TeacherTrajectory

# One run after another makes TensorFlow warn of retracing, which is as it should be.
logging.getLogger("tensorflow").setLevel(logging.ERROR)


class _Commands(typer.core.TyperGroup):
    """Says in one line what the library refuses; other errors keep their traceback."""

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except (ValueError, OSError) as error:
            typer.echo(f"Error: {' '.join(str(error).split())}", err=True)
            raise typer.Exit(2) from error


app = typer.Typer(
    cls=_Commands,
    help="Knowledge distillation for Keras 3.\n\n"
    "Train a teacher and record it, distil students from it, see what they are worth. "
    "The backend is KERAS_BACKEND (tensorflow, jax or torch).\n\n"
    "    keras-kd train-teacher runs/teacher --dataset digits --network resnet8\n\n"
    "    keras-kd cache build runs/teacher\n\n"
    "    keras-kd distill runs/online --mode online --teacher runs/teacher "
    "--cache runs/teacher/supervision\n\n"
    "    keras-kd evaluate runs/online --teacher runs/teacher\n\n"
    "    keras-kd compare-teachers runs/teacher --student-network lenet5",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
app.add_typer(cache_app, name="cache")
for command in (
    studies.recipes,
    studies.run,
    studies.report,
    studies.compare_studies,
):
    app.command()(command)
console = Console()

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
]


def _folder(path: Path) -> Path:
    """Refuses a place where no folder can be made, before anything is trained."""
    for place in (path, *path.parents):
        if place.is_file():
            raise typer.BadParameter(f"{place} is a file")
    return path


Out = Annotated[Path, typer.Argument(help="Folder to write to.", callback=_folder)]
Data = Annotated[DatasetName, typer.Option(help="Data set.")]
DataFolder = Annotated[
    Path | None,
    typer.Option(help="Where the data set's files are, if not in a usual place."),
]
NTrain = Annotated[int | None, typer.Option(min=1, help="Use so many training images.")]
Width = Annotated[
    float | None,
    typer.Option(min=0.01, help="Multiple of the filters (lenet5, mobilenet_v3)."),
]
Epochs = Annotated[int, typer.Option(min=1, help="Passes over the training images.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Images a step.")]
Rate = Annotated[
    float, typer.Option("--learning-rate", min=0.0, help="Highest learning rate.")
]
Seed = Annotated[int, typer.Option(help="Of weights and order.")]


class _Bar(keras.callbacks.Callback):
    """Draws the epochs of one run in a progress display."""

    def __init__(self, progress: Progress, label: str, epochs: int):
        super().__init__()
        self.progress = progress
        self.task = progress.add_task(label, total=epochs, logs="")

    def on_epoch_end(self, epoch, logs=None):
        text = f"accuracy {logs['val_accuracy']:.3f}  "
        if "val_fidelity" in logs:
            text += f"fidelity {logs['val_fidelity']:.3f}"
        else:
            text += f"loss {logs['loss']:.3g}"
        self.progress.update(self.task, completed=epoch + 1, logs=text)


def _progress() -> Progress:
    # A line fits 80 columns: 22 for the longest label, 30 for the longest logs.
    return Progress(
        TextColumn("{task.description:22}"),
        BarColumn(bar_width=10),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[logs]}"),
        console=console,
    )


def _load(name, folder, n_train=None):
    return datasets.load(name, folder=folder, n_train=n_train)


def _write(folder: Path, model: keras.Model, run, settings: dict) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    model.save(folder / "model.keras")
    record = {"settings": settings, "backend": keras.backend.backend(), **asdict(run)}
    (folder / "run.json").write_text(json.dumps(record, indent=1, default=str))
    fidelity = "" if run.fidelity is None else f", fidelity {100 * run.fidelity:.2f} %"
    console.print(
        f"test accuracy {100 * run.accuracy:.2f} %{fidelity}, "
        f"{run.seconds:.0f} s; written to {folder}"
    )


@app.command("train-teacher")
def train_teacher(
    out: Out,
    dataset: Data = "digits",
    network: Annotated[experiments.Network, typer.Option(help="Teacher.")] = "resnet20",
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
) -> None:
    """Train a teacher on labels and record its trajectory."""
    settings = dict(locals())
    data = _load(dataset, data_folder, n_train)
    teacher = experiments.build(
        network, data.x_train.shape[1:], data.classes, seed=seed, width=width
    )
    with _progress() as progress:
        run = experiments.train_teacher(
            teacher,
            data,
            out / "trajectory",
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            every=every,
            ema=ema,
            seed=seed,
            callbacks=[_Bar(progress, f"teacher {network}", epochs)],
        )
    _write(out, teacher, run, settings)


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


@app.command()
def distill(
    context: typer.Context,
    out: Out,
    mode: Annotated[
        experiments.Mode,
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
    dataset: Data = "digits",
    network: Annotated[experiments.Network, typer.Option(help="Student.")] = "lenet5",
    width: Width = None,
    teacher_network: Annotated[
        experiments.Network, typer.Option(help="Teacher of --mode together.")
    ] = "resnet20",
    temperature: Annotated[
        float, typer.Option(min=0.001, help="Of the soft targets.")
    ] = 4.0,
    alpha: Annotated[
        float, typer.Option(min=0, max=1, help="Weight of the teacher beside labels.")
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
) -> None:
    """Train a student, with or without a teacher."""
    settings = dict(locals())
    del settings["context"]
    _refuse_unused(context, mode)
    trajectory = None
    if mode in _TEACHERS_FROM_A_FOLDER:
        if teacher is None:
            raise typer.BadParameter(
                f"--mode {mode} needs --teacher, a folder of `keras-kd train-teacher`."
            )
        trajectory = TeacherTrajectory(teacher / "trajectory")
    supervision = None if cache is None else SupervisionCache(cache)
    data = _load(dataset, data_folder, n_train)
    shape, classes = data.x_train.shape[1:], data.classes
    student = experiments.build(network, shape, classes, seed=seed, width=width)
    with _progress() as progress:
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
            callbacks=[_Bar(progress, f"{network}, {mode}", epochs)],
        )
    _write(out, student, run, settings)


@app.command()
def evaluate(
    model: Annotated[Path, typer.Argument(help="A run's folder, or a .keras file.")],
    dataset: Data = "digits",
    teacher: Annotated[
        Path | None,
        typer.Option(help="Another one, whose predictions to compare with."),
    ] = None,
    data_folder: DataFolder = None,
) -> None:
    """Accuracy on the test images, and agreement with a teacher."""
    data = _load(dataset, data_folder)
    accuracy, fidelity = experiments.evaluate(
        _model(model), data, _model(teacher) if teacher else None
    )
    console.print(f"test accuracy {100 * accuracy:.2f} %")
    if fidelity is not None:
        console.print(f"fidelity      {100 * fidelity:.2f} %")


Criterion = Literal[
    "heldout_accuracy",
    "heldout_fidelity",
    "teacher_accuracy",
    "complexity",
    "complexity_per_margin",
    "complexity_per_norm",
    "leave_one_out_error",
    "bound_total",
]


def _report_file(path: Path) -> Path:
    """Refuses a file that cannot be written, before anything is computed."""
    if path.is_dir():
        raise typer.BadParameter(f"{path} is a folder")
    if path.suffix == ".png":
        raise typer.BadParameter(f"{path} is where the figure would go; end in .json")
    _folder(path.parent)
    return path


@app.command("compare-teachers")
def compare_teachers_command(
    runs: Annotated[
        list[Path], typer.Argument(help="Folders of train-teacher.", metavar="RUN...")
    ],
    temperature: Annotated[
        list[float], typer.Option(help="Of the soft targets; give it several times.")
    ] = [1.0, 2.0, 4.0, 8.0],  # noqa: B006 - typer reads it
    n: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="Images, a quarter of them held out; by default 1,000, of test 500.",
        ),
    ] = None,
    images: Annotated[
        Literal["train", "test"],
        typer.Option(
            help="train: what the student would learn from; test: images that no "
            "teacher has seen, for which the bound holds."
        ),
    ] = "train",
    student_network: Annotated[
        experiments.Network, typer.Option(help="Student.")
    ] = "lenet5",
    width: Width = None,
    criterion: Annotated[
        Criterion | None,
        typer.Option(help="Column that ranks; by default bound_total."),
    ] = None,
    features: Annotated[
        int | None,
        typer.Option(
            min=1, help="Random features in place of the kernel, for large n."
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option(help="JSON file; a PNG goes beside.", callback=_report_file)
    ] = Path("report.json"),
    data_folder: DataFolder = None,
    seed: Seed = 0,
) -> None:
    """Rank teachers, checkpoints and temperatures for a student not yet trained.

    A kernel machine, the student linearised at its initial weights, stands for it.
    """
    trajectories = {
        name: TeacherTrajectory(run / "trajectory")
        for name, run in zip(_names(runs), runs, strict=True)
    }
    name, folder = _data_of(runs)
    unseen = images == "test"
    data = datasets.load(
        name,
        folder=data_folder or folder,
        n_train=1 if unseen else n or 1000,
        n_test=(n or 500) if unseen else 1,
    )
    student = experiments.build(
        student_network, data.x_train.shape[1:], data.classes, seed=seed, width=width
    )
    report = compare_teachers(
        student,
        trajectories,
        data.x_test if unseen else data.x_train,
        data.y_test if unseen else data.y_train,
        temperature,
        criterion=criterion,
        features=features,
        seed=seed,
        kernel_independent=True,
        teacher_independent=unseen,
        labels_held_out=unseen,
        progress=True,
    )
    # As wide as it is, whatever the console.
    typer.echo(report)
    out.parent.mkdir(parents=True, exist_ok=True)
    report.to_json(out)
    figure = out.with_suffix(".png")
    report.plot().figure.savefig(figure, dpi=150)
    console.print(f"all numbers: {out}\nheat map: {figure}")


def _names(runs: list[Path]) -> list[str]:
    """The folders' names, or their paths where names would be the same."""
    names = [run.resolve().name for run in runs]
    if len(set(names)) == len(names):
        return names
    if len(set(runs)) < len(runs):
        raise typer.BadParameter("each RUN must be given once")
    return [str(run) for run in runs]


def _data_of(runs: list[Path]) -> tuple[str, str | None]:
    """Name and folder of the data set that all the teachers were trained on."""
    settings = []
    for run in runs:
        file = run / "run.json"
        if not file.is_file():
            raise typer.BadParameter(f"no {file}; has train-teacher finished?")
        settings.append(json.loads(file.read_text())["settings"])
    names = {one["dataset"] for one in settings}
    if len(names) > 1:
        raise typer.BadParameter(
            f"teachers of one data set can be compared, not of {sorted(names)}"
        )
    return settings[0]["dataset"], settings[0]["data_folder"]


def _model(path: Path) -> keras.Model:
    file = path / "model.keras" if path.is_dir() else path
    if not file.is_file():
        raise typer.BadParameter(f"no model at {file}")
    return keras.saving.load_model(file)


@app.command()
def demo(
    dataset: Annotated[DemoName, typer.Option(help="Real images.")] = "digits",
    seeds: Annotated[int, typer.Option(min=1, help="Repetitions.")] = 2,
    out: Annotated[
        Path, typer.Option(help="Folder to write to.", callback=_folder)
    ] = Path("runs/demo"),
    data_folder: DataFolder = None,
) -> None:
    """A teacher, and one student without it, offline and online, in minutes."""
    console.print(
        f"[bold]{dataset}[/bold] on {keras.backend.backend()}: a teacher is trained "
        "and recorded, then the same student learns from labels alone (no teacher), "
        "from the final teacher (offline) and from its checkpoints in turn (online)."
    )
    with _progress() as progress:
        runs = experiments.demo(
            dataset,
            seeds,
            out,
            data_folder,
            lambda label, seed, epochs: _Bar(progress, f"seed {seed}: {label}", epochs),
        )
    print_table(runs, console)
    console.print(f"curves: {out / dataset / 'curves.png'}")
    console.print(f"all numbers: {out / dataset / 'results.json'}")
