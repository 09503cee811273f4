"""The manifest of a trajectory, `trajectory.json`: what was recorded, and when."""

import dataclasses
import itertools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from keras_kd.teachers.manifest_file import ManifestFile, read_output_kinds
from keras_kd.teachers.trajectory.architecture import VariableSpec

MANIFEST_NAME = "trajectory.json"
_FILE = ManifestFile(
    format="keras_kd.trajectory",
    version=1,
    called="trajectory manifest",
    about="teacher trajectory",
    made="`keras_kd.TrajectoryRecorder` writes one while a teacher trains.",
)

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
    """

    folder: Path
    model: dict[str, Any]
    variables: tuple[VariableSpec, ...]
    steps_per_epoch: int | None
    total_steps: int
    ema: float | None
    checkpoints: tuple[Checkpoint, ...]
    output_kinds: list[str | None] | None = None

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
            output_kinds=read_output_kinds(content),
        )
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

    def leftovers(self) -> Iterator[Path]:
        """Files in `folder` that a recorder wrote and this manifest does not name."""
        named = {c.file.name for c in self.checkpoints}
        for path in self.folder.iterdir():
            if _FILE_NAME.fullmatch(path.name) and path.name not in named:
                yield path
