"""`keras-kd compare-teachers`: which teacher for a student that is not trained yet."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from keras_kd.cli.display import console
from keras_kd.cli.options import DataFolder, Seed, Width, folder_to_write
from keras_kd.cli.run_folder import settings_of
from keras_kd.experiments.names import Network

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
    folder_to_write(path.parent)
    return path


def command(
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
    student_network: Annotated[Network, typer.Option(help="Student.")] = "lenet5",
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
    names = _names(runs)
    from keras_kd import datasets, experiments
    from keras_kd.complexity import compare_teachers
    from keras_kd.files import make_folder, replacing
    from keras_kd.teachers import TeacherTrajectory

    trajectories = {
        name: TeacherTrajectory(run / "trajectory")
        for name, run in zip(names, runs, strict=True)
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
    make_folder(out.parent)
    report.to_json(out)
    figure = out.with_suffix(".png")
    drawn: Any = report.plot().figure
    with replacing(figure) as part:
        drawn.savefig(part, dpi=150)
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
    settings = [settings_of(run) for run in runs]
    names = {one["dataset"] for one in settings}
    if len(names) > 1:
        raise typer.BadParameter(
            f"teachers of one data set can be compared, not of {sorted(names)}"
        )
    return settings[0]["dataset"], settings[0]["data_folder"]
