"""The manifest of a trajectory, `trajectory.json`: what was recorded, and when."""

import dataclasses
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import keras

from keras_kd.files import put_in_place

MANIFEST_NAME = "trajectory.json"
_FORMAT = "keras_kd.trajectory"
_VERSION = 1

_FILE_NAME = re.compile(r"step-\d{8,}(\.tmp)?\.weights\.h5|trajectory\.json\.tmp")
_AUTO_NUMBER = re.compile(r'_\d+(?=[/"]|$)')


class VariableSpec(NamedTuple):
    """What a variable is, without its value."""

    path: str
    shape: tuple[int, ...]
    dtype: str


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """One recorded state of a teacher.

    Attributes:
        index: place in the trajectory, from 0.
        step: teacher batches completed when it was saved, `t_i`.
        epoch: teacher epochs completed when it was saved.
        metrics: the teacher's logs at that moment, for the running epoch; `None` for
            a value that was not finite.
        file: the weights, a Keras `.weights.h5`.
        size: of the file, in bytes.
        sha256: of the file, hexadecimal.
        non_finite: path of the first variable with NaN or infinite values, or `None`.
        ema_updates: how many steps the recorded average has seen, 0 without `ema`.
    """

    index: int
    step: int
    epoch: int
    metrics: Mapping[str, float | None]
    file: Path
    size: int
    sha256: str
    non_finite: str | None
    ema_updates: int


@dataclasses.dataclass(frozen=True)
class Manifest:
    """All that is known of a trajectory besides the weights themselves.

    Attributes:
        folder: where it lies.
        model: the teacher, as `keras.saving.serialize_keras_object` gives it.
        variables: the teacher's `weights`, in order.
        steps_per_epoch: teacher batches per epoch, `None` while unknown.
        total_steps: teacher batches completed in all, `T`.
        ema: decay of the recorded average, `None` for the weights themselves.
        checkpoints: in the order of their steps.
    """

    folder: Path
    model: dict[str, Any]
    variables: tuple[VariableSpec, ...]
    steps_per_epoch: int | None
    total_steps: int
    ema: float | None
    checkpoints: tuple[Checkpoint, ...]

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """The manifest in `folder`.

        Raises:
            FileNotFoundError: there is none.
            ValueError: it is not one; the message names file and reason.
        """
        path = folder / MANIFEST_NAME
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise FileNotFoundError(
                f"There is no teacher trajectory in '{folder}': {path} is missing. "
                "`keras_kd.TrajectoryRecorder` writes one while a teacher trains."
            ) from error
        except ValueError as error:
            raise _unreadable(path, f"it is not valid JSON ({error})") from error
        if not isinstance(content, dict) or content.get("format") != _FORMAT:
            raise _unreadable(path, f"it does not say 'format': '{_FORMAT}'")
        if content.get("version") != _VERSION:
            raise _unreadable(
                path,
                f"it has version {content.get('version')}, and this release of "
                f"keras_kd reads version {_VERSION}",
            )
        try:
            manifest = cls(
                folder=folder,
                model=dict(content["model"]),
                variables=tuple(
                    VariableSpec(v["path"], tuple(v["shape"]), v["dtype"])
                    for v in content["variables"]
                ),
                steps_per_epoch=content["steps_per_epoch"],
                total_steps=int(content["total_steps"]),
                ema=content["ema"],
                checkpoints=tuple(
                    Checkpoint(
                        index=i,
                        step=int(c["step"]),
                        epoch=int(c["epoch"]),
                        metrics=dict(c["metrics"]),
                        file=folder / Path(c["file"]).name,
                        size=int(c["size"]),
                        sha256=str(c["sha256"]),
                        non_finite=c["non_finite"],
                        ema_updates=int(c["ema_updates"]),
                    )
                    for i, c in enumerate(content["checkpoints"])
                ),
            )
        except KeyError as error:
            raise _unreadable(path, f"the entry {error} is missing") from error
        except (TypeError, ValueError) as error:
            raise _unreadable(path, str(error)) from error
        steps = [0, *(c.step for c in manifest.checkpoints)]
        if any(a >= b for a, b in itertools.pairwise(steps)):
            raise _unreadable(path, f"its steps do not increase: {steps[1:]}")
        if manifest.total_steps < steps[-1]:
            raise _unreadable(
                path,
                f"its last checkpoint, at step {steps[-1]}, lies after its "
                f"{manifest.total_steps} steps in all",
            )
        return manifest

    def write(self) -> None:
        """Replaces the manifest in `folder`, whole or not at all."""
        content = {
            "format": _FORMAT,
            "version": _VERSION,
            "steps_per_epoch": self.steps_per_epoch,
            "total_steps": self.total_steps,
            "ema": self.ema,
            "checkpoints": [
                {
                    "step": c.step,
                    "epoch": c.epoch,
                    "metrics": dict(c.metrics),
                    "file": c.file.name,
                    "size": c.size,
                    "sha256": c.sha256,
                    "non_finite": c.non_finite,
                    "ema_updates": c.ema_updates,
                }
                for c in self.checkpoints
            ],
            "variables": [v._asdict() for v in self.variables],
            "model": self.model,
        }
        path = self.folder / MANIFEST_NAME
        temporary = path.with_name(path.name + ".tmp")
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
        put_in_place(temporary, path)

    def leftovers(self) -> Iterator[Path]:
        """Files in `folder` that a recorder wrote and this manifest does not name."""
        named = {c.file.name for c in self.checkpoints}
        for path in self.folder.iterdir():
            if _FILE_NAME.fullmatch(path.name) and path.name not in named:
                yield path


def _unreadable(path: Path, reason: str) -> ValueError:
    return ValueError(f"The trajectory manifest {path} cannot be read: {reason}.")


def model_config(model) -> dict[str, Any]:
    """The model's architecture, as JSON will give it back, without how it trains."""
    config = keras.saving.serialize_keras_object(model)
    config.pop("compile_config", None)
    return json.loads(json.dumps(config))


def variable_specs(model) -> tuple[VariableSpec, ...]:
    """The model's `weights`, in order."""
    return tuple(
        VariableSpec(v.path, tuple(v.shape), keras.backend.standardize_dtype(v.dtype))
        for v in model.weights
    )


def first_difference(
    recorded: tuple[VariableSpec, ...], present: tuple[VariableSpec, ...]
) -> str | None:
    """Says where two lists of variables differ, `None` where they do not.

    Of the paths, the names of variable and layer are compared: what stands before
    them depends on the order in which Keras built the layers. Numbers at their ends
    are left out: Keras counts layers without a name through a whole process.
    """
    for i, (a, b) in enumerate(zip(recorded, present, strict=False)):
        if (_names(a.path), *a[1:]) != (_names(b.path), *b[1:]):
            return (
                f"variable {i} was recorded as '{a.path}', shape {a.shape}, {a.dtype}, "
                f"and is '{b.path}', shape {b.shape}, {b.dtype}, in the model"
            )
    if len(recorded) != len(present):
        return (
            f"{len(recorded)} variables were recorded, and the model has {len(present)}"
        )
    return None


def same_architecture(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether two model configs differ in automatic numbers and seeds at most."""
    return _architecture(a) == _architecture(b)


def _architecture(config: Mapping[str, Any]) -> str:
    return _unnumbered(json.dumps(_without_seeds(config), sort_keys=True))


def _without_seeds(node):
    if isinstance(node, Mapping):
        return {k: _without_seeds(v) for k, v in node.items() if k != "seed"}
    if isinstance(node, list | tuple):
        return [_without_seeds(v) for v in node]
    return node


def _names(path: str) -> list[str]:
    return _unnumbered(path).split("/")[-2:]


def _unnumbered(text: str) -> str:
    return _AUTO_NUMBER.sub("", text)
