"""The manifest of a trajectory, `trajectory.json`: what was recorded, and when."""

import dataclasses
import itertools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from keras_kd.arguments import (
    check_fraction,
    check_integer,
    check_integer_or_none,
    check_number,
)
from keras_kd.teachers.manifest_file import ManifestFile, read_output_kinds
from keras_kd.teachers.trajectory.architecture import VariableSpec
from keras_kd.teachers.trajectory.spacing import Spacing

MANIFEST_NAME = "trajectory.json"
_FILE = ManifestFile(
    format="keras_kd.trajectory",
    version=1,
    called="trajectory manifest",
    about="teacher trajectory",
    made="`keras_kd.TrajectoryRecorder` writes one while a teacher trains.",
)

_CHECKPOINT_NAME = re.compile(r"step-\d{8,20}\.weights\.h5")
_SHA256 = re.compile("[0-9a-f]{64}")
_FILE_NAME = re.compile(r"step-\d{8,}(\.tmp)?\.weights\.h5|trajectory\.json\.tmp")


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
        output_kinds: what each of the teacher's outputs means, as `keras.tree.flatten`
            orders them: `"categorical"`, `"bernoulli"` or `"continuous"`; `None` where
            it is not known.
        finished: whether training came to its end; `None`: version 0.1 did not say it.
        spacing: at which moments checkpoints are taken, `None` where it is not known.
        lost: steps at which a checkpoint was due that an interruption has lost.
    """

    folder: Path
    model: dict[str, Any]
    variables: tuple[VariableSpec, ...]
    steps_per_epoch: int | None
    total_steps: int
    ema: float | None
    checkpoints: tuple[Checkpoint, ...]
    output_kinds: list[str | None] | None = None
    finished: bool | None = None
    spacing: Spacing | None = None
    lost: tuple[int, ...] = ()

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """The manifest in `folder`.

        Raises:
            FileNotFoundError: there is none.
            ValueError: it is not one; the message names file and reason.
        """
        return _FILE.read(
            folder / MANIFEST_NAME, lambda content: cls._parse(folder, content)
        )

    @classmethod
    def _parse(cls, folder: Path, content: dict[str, Any]) -> "Manifest":
        ema, epochs = content["ema"], content["steps_per_epoch"]
        manifest = cls(
            folder=folder,
            model=_checked("model", content["model"], dict),
            variables=tuple(
                VariableSpec(
                    _checked("path", v["path"], str),
                    tuple(
                        check_integer("shape", d, at_least=0)
                        for d in _checked("shape", v["shape"], list)
                    ),
                    _checked("dtype", v["dtype"], str),
                )
                for v in _checked("variables", content["variables"], list)
            ),
            steps_per_epoch=check_integer_or_none("steps_per_epoch", epochs, above=0),
            total_steps=check_integer(
                "total_steps", content["total_steps"], at_least=0
            ),
            ema=None if ema is None else check_fraction("ema", ema),
            checkpoints=tuple(
                _checkpoint(folder, i, c)
                for i, c in enumerate(
                    _checked("checkpoints", content["checkpoints"], list)
                )
            ),
            output_kinds=read_output_kinds(content),
            finished=_checked("finished", content.get("finished"), bool | None),
            spacing=Spacing.from_json(content.get("spacing")),
            lost=tuple(
                check_integer("lost", step, at_least=0)
                for step in _checked("lost", content.get("lost", []), list)
            ),
        )
        names = [c.file.name for c in manifest.checkpoints]
        if len(set(names)) < len(names):
            raise ValueError("two of its checkpoints have one file")
        steps = [0, *(c.step for c in manifest.checkpoints)]
        if any(a >= b for a, b in itertools.pairwise(steps)):
            raise ValueError(f"its steps do not increase: {steps[1:]}")
        if manifest.total_steps < steps[-1]:
            raise ValueError(
                f"its last checkpoint, at step {steps[-1]}, lies after its "
                f"{manifest.total_steps} steps in all"
            )
        return manifest

    def write(self) -> None:
        """Replaces the manifest in `folder`, whole or not at all."""
        content = {
            "steps_per_epoch": self.steps_per_epoch,
            "total_steps": self.total_steps,
            "ema": self.ema,
            "output_kinds": self.output_kinds,
            "finished": self.finished,
            "spacing": None if self.spacing is None else self.spacing.as_json(),
            "lost": list(self.lost),
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
        _FILE.write(self.folder / MANIFEST_NAME, content)

    def is_there(self) -> bool:
        """Whether the folder holds a manifest."""
        return (self.folder / MANIFEST_NAME).exists()

    def leftovers(self) -> Iterator[Path]:
        """Files in `folder` that a recorder wrote and this manifest does not name."""
        named = {c.file.name for c in self.checkpoints}
        for path in self.folder.iterdir():
            if _FILE_NAME.fullmatch(path.name) and path.name not in named:
                yield path


def _checkpoint(folder: Path, index: int, entry: Any) -> Checkpoint:
    name = _checked("file", entry["file"], str)
    if not _CHECKPOINT_NAME.fullmatch(name):
        raise ValueError(f"'file' is no name that a recorder gives, but {name!r:.80}")
    digest = _checked("sha256", entry["sha256"], str)
    if not _SHA256.fullmatch(digest):
        raise ValueError(f"'sha256' is no SHA-256, but {digest!r:.80}")
    metrics: dict[str, float | None] = _checked("metrics", entry["metrics"], dict)
    for key, value in metrics.items():
        if value is not None:
            check_number(f"metrics['{key:.40}']", value)
    return Checkpoint(
        index=index,
        step=check_integer("step", entry["step"], above=0),
        epoch=check_integer("epoch", entry["epoch"], at_least=0),
        metrics=dict(metrics),
        file=folder / name,
        size=check_integer("size", entry["size"], at_least=0),
        sha256=digest,
        non_finite=_checked("non_finite", entry["non_finite"], str | None),
        ema_updates=check_integer("ema_updates", entry["ema_updates"], at_least=0),
    )


def _checked(name: str, value: Any, kind: Any) -> Any:
    """A value of a manifest, refused where it is of another type."""
    if not isinstance(value, kind):
        raise ValueError(f"'{name}' is a {type(value).__name__}: {value!r:.80}")
    return value
