"""The folder of one run: a model, and what came of its training."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from keras_kd.cli.display import console

if TYPE_CHECKING:
    import keras

    from keras_kd.experiments.training import Run


def write(folder: Path, model: keras.Model, run: Run, settings: dict[str, Any]) -> None:
    """Writes `model.keras` and `run.json`, and says so."""
    import keras

    from keras_kd.files import filling

    record = {
        "settings": settings,
        "backend": keras.backend.backend(),
        **dataclasses.asdict(run),
    }
    with filling(folder) as part:
        model.save(part / "model.keras")
        text = json.dumps(record, indent=1, default=str)
        (part / "run.json").write_text(text, encoding="utf-8")
    fidelity = "" if run.fidelity is None else f", fidelity {100 * run.fidelity:.2f} %"
    console.print(
        f"test accuracy {100 * run.accuracy:.2f} %{fidelity}, "
        f"{run.seconds:.0f} s; written to {folder}"
    )


def settings_of(folder: Path) -> dict[str, Any]:
    """With what `train-teacher` was called."""
    file = folder / "run.json"
    if not file.is_file():
        raise typer.BadParameter(f"no {file}; has train-teacher finished?")
    settings: dict[str, Any] = json.loads(file.read_text())["settings"]
    return settings


def load_model(path: Path) -> keras.Model:
    """The model of a run's folder, or of a `.keras` file."""
    file = path / "model.keras" if path.is_dir() else path
    if not file.is_file():
        raise typer.BadParameter(f"no model at {file}")
    import keras

    from keras_kd import registration  # noqa: F401 - it may be a `Distiller`'s

    return keras.saving.load_model(file)
