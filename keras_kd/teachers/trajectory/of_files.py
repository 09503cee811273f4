"""A manifest for checkpoints that no recorder has made, as `ModelCheckpoint`'s."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import keras

from keras_kd.arguments import check_integer, check_path
from keras_kd.files import sha256
from keras_kd.forward.claims import check_model_file
from keras_kd.keras_internals import keras_reason
from keras_kd.teachers.known_kinds import kinds_of_model
from keras_kd.teachers.trajectory.architecture import model_config, variable_specs
from keras_kd.teachers.trajectory.bare_copy import bare_copy
from keras_kd.teachers.trajectory.manifest import Checkpoint, Manifest
from keras_kd.teachers.trajectory.weights_file import (
    ENDINGS,
    first_non_finite,
    load_file,
)


def manifest_of_files(
    files: Iterable[str | os.PathLike[str]],
    steps: Iterable[int] | None,
    model: keras.Model | None,
) -> Manifest:
    """Reads every file once, and writes nothing. See `TeacherTrajectory.from_files`."""
    if isinstance(files, str | os.PathLike) or not isinstance(files, Iterable):
        raise ValueError(f"`files` must be a list of files. Received: files={files!r}")
    paths = [check_path(f"files[{i}]", file) for i, file in enumerate(files)]
    if not paths:
        raise ValueError("`files` must name at least one file. Received: none")
    for path in paths:
        if not path.name.endswith(ENDINGS):
            raise ValueError(
                "`files` must end in .weights.h5 or .keras. Received: "
                f"'{path}'. Save with `model.save_weights` or `model.save`."
            )
        if not path.is_file():
            raise FileNotFoundError(f"`files` must be there. Received: '{path}'")
    moments = _checked_steps(steps, len(paths))
    if model is None:
        model = _model_of(paths[0])
    elif not (isinstance(model, keras.Model) and model.built):
        raise ValueError(f"`model` must be a built `keras.Model`. Received: {model!r}")
    copy = bare_copy(model)
    checkpoints = []
    for i, (path, step) in enumerate(zip(paths, moments, strict=True)):
        try:
            with keras.device("cpu"):
                load_file(path, copy)
        except Exception as error:
            raise ValueError(
                f"`files` must hold weights of model '{model.name}'. Received: "
                f"'{path}': {keras_reason(error)}. Pass the model that they were saved "
                "from, `model=...`, or leave the file out."
            ) from error
        checkpoints.append(
            Checkpoint(
                index=i,
                step=step,
                epoch=i + 1,
                metrics={},
                file=path,
                size=path.stat().st_size,
                sha256=sha256(path),
                non_finite=first_non_finite(copy),
                ema_updates=0,
            )
        )
    return Manifest(
        folder=Path(os.path.commonpath([path.resolve().parent for path in paths])),
        model=model_config(model),
        variables=variable_specs(model),
        steps_per_epoch=None,
        total_steps=moments[-1],
        ema=None,
        checkpoints=tuple(checkpoints),
        output_kinds=kinds_of_model(model),
        finished=True,
    )


def _checked_steps(steps: Iterable[int] | None, n: int) -> list[int]:
    if steps is None:
        return list(range(1, n + 1))
    checked = [check_integer(f"steps[{i}]", s, above=0) for i, s in enumerate(steps)]
    if len(checked) != n or sorted(set(checked)) != checked:
        raise ValueError(
            f"`steps` must be one number for each of the {n} files, and increase. "
            f"Received: {len(checked)} numbers, {checked!s:.80}"
        )
    return checked


def _model_of(path: Path) -> Any:
    if path.suffix != ".keras":
        raise ValueError(
            "`model` must be the teacher where files hold weights alone. Received: "
            f"model=None and '{path}'"
        )
    try:
        check_model_file(path)
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        raise ValueError(
            f"`files` must be models that Keras can load. Received: '{path}': "
            f"{keras_reason(error)}. Pass the model, `model=...`, where it has parts "
            "that Keras does not know."
        ) from error
