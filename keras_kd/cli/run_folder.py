"""The folder of one run: a model, and what came of its training.

`run.json` is written last and removed first: where it is, all else is of that run.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import typer

from keras_kd.cli.display import console
from keras_kd.cli.options import DatasetName

if TYPE_CHECKING:
    import keras

    from keras_kd.experiments.training import Run

RECORD, MODEL, TRAJECTORY = "run.json", "model.keras", "trajectory"


def check_free(folder: Path, overwrite: bool, *, records: bool) -> None:
    """Refuses a folder with something in it that this run would replace.

    Args:
        folder: where the run goes.
        overwrite: whether a run that is there may be replaced.
        records: whether this run records a trajectory.
    """
    if (folder / TRAJECTORY).exists() and not records:
        raise typer.BadParameter(
            f"{folder} holds a teacher with its trajectory; choose another folder for "
            "the student."
        )
    for name in (RECORD, MODEL, TRAJECTORY):
        if (folder / name).exists() and not overwrite:
            raise typer.BadParameter(
                f"{folder} holds a run already ({name}); choose another folder, or "
                "have it replaced with --overwrite."
            )


def clear(folder: Path) -> None:
    """Removes record and model of a run that is about to be replaced."""
    from keras_kd.files import sync

    for name in (RECORD, MODEL):
        if (folder / name).exists():
            (folder / name).unlink()
            # Before anything new is written: no crash brings the two together.
            sync(folder)


def write(
    folder: Path,
    model: keras.Model,
    run: Run,
    settings: dict[str, Any],
    last_checkpoint: str | None = None,
) -> None:
    """Writes `model.keras` and `run.json`, and says so.

    Args:
        folder: where to.
        model: the trained one.
        run: what came of it.
        settings: with what the command was called.
        last_checkpoint: SHA-256 of the last one of a trajectory in the folder.
    """
    import keras

    from keras_kd.files import filling

    record = {
        "settings": settings,
        "backend": keras.backend.backend(),
        "last_checkpoint": last_checkpoint,
        **dataclasses.asdict(run),
    }
    with filling(folder) as part:
        model.save(part / MODEL)
        text = json.dumps(record, indent=1, default=str)
        (part / RECORD).write_text(text, encoding="utf-8")
        clear(folder)
    fidelity = "" if run.fidelity is None else f", fidelity {100 * run.fidelity:.2f} %"
    console.print(
        f"test accuracy {100 * run.accuracy:.2f} %{fidelity}, "
        f"{run.seconds:.0f} s; written to {folder}"
    )


def settings_of(folder: Path) -> dict[str, Any]:
    """With what `train-teacher` was called, where all that it wrote is there.

    Raises:
        typer.BadParameter: there is none, or its trajectory is another training's.
        ValueError: it is damaged.
    """
    file = folder / RECORD
    if not file.is_file():
        raise typer.BadParameter(f"no {file}; has train-teacher finished?")
    from keras_kd.arguments import check_choice, check_integer_or_none
    from keras_kd.files import read_json
    from keras_kd.teachers import TeacherTrajectory

    try:
        record = read_json(file)
    except ValueError as error:
        raise _damaged(file, str(error)) from None
    settings = record.get("settings") if isinstance(record, dict) else None
    if not isinstance(settings, dict):
        raise _damaged(file, "the entry 'settings' is missing")
    try:
        check_choice("dataset", settings["dataset"], get_args(DatasetName))
        check_integer_or_none("n_train", settings["n_train"], above=0)
        if not isinstance(settings["data_folder"], str | None):
            raise ValueError(f"data_folder={settings['data_folder']!r:.80}")
    except KeyError as error:
        raise _damaged(file, f"the entry {error} is missing") from None
    except ValueError as error:
        raise _damaged(file, str(error)) from None
    trajectory = TeacherTrajectory(folder / TRAJECTORY)
    recorded = record.get("last_checkpoint")
    is_another = recorded is not None and recorded != trajectory[-1].sha256
    if trajectory.finished is False or is_another:
        raise typer.BadParameter(
            f"{folder / TRAJECTORY} is not that of {file}: another training has begun "
            "to replace it; train again with `keras-kd train-teacher --overwrite`."
        )
    return settings


def _damaged(file: Path, reason: str) -> ValueError:
    return ValueError(
        f"{file} is no record of train-teacher: {reason}; train again with "
        "`keras-kd train-teacher --overwrite`."
    )


def load_model(path: Path) -> keras.Model:
    """The model of a run's folder, or of a `.keras` file."""
    file = path / MODEL if path.is_dir() else path
    if not file.is_file():
        raise typer.BadParameter(f"no model at {file}")
    import keras

    from keras_kd import registration  # noqa: F401 - it may be a `Distiller`'s
    from keras_kd.forward.claims import check_model_file
    from keras_kd.keras_internals import keras_reason

    try:
        # What a file says takes no memory that the file does not fill, and, in Keras's
        # safe mode, runs no code.
        check_model_file(file)
        return keras.saving.load_model(file, safe_mode=True)
    except Exception as error:
        raise ValueError(
            f"{file} cannot be loaded: {keras_reason(error)}. It is damaged, or of "
            "layers that Keras does not know; train or save the model again."
        ) from error
