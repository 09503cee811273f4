"""TrajectoryWriter: puts checkpoints into a folder so that a crash harms nothing."""

import dataclasses
import math
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_kd.arguments import check_folder
from keras_kd.files import make_folder, replacing, sha256
from keras_kd.keras_internals import weights_file
from keras_kd.teachers.trajectory.architecture import (
    first_difference,
    model_config,
    same_architecture,
    variable_specs,
)
from keras_kd.teachers.trajectory.bare_copy import bare_copy
from keras_kd.teachers.trajectory.hold import Hold
from keras_kd.teachers.trajectory.manifest import Checkpoint, Manifest
from keras_kd.teachers.trajectory.reader import read_weights
from keras_kd.teachers.trajectory.spacing import Spacing, shortened


class TrajectoryWriter:
    """The folder of one trajectory, open for writing.

    Every file is put in place whole (`keras_kd.files`), and the manifest follows the
    weights; where something is removed, the manifest goes first. So at any moment the
    manifest in the folder names complete files only. What a crash leaves besides is
    removed by the next `begin`.

    Args:
        folder: where the trajectory is, or is to be.
        model: the teacher.
        ema: decay of the average that is recorded, or `None`.
        output_kinds: what each of the teacher's outputs means, or `None`.
        spacing: at which moments checkpoints are taken.
        overwrite: whether what the folder holds may be replaced.
        training: an object that tells this training from others.

    Raises:
        ValueError: the folder is a file, or holds something else's trajectory, or the
            model cannot be rebuilt from its config. Nothing has been written.
        BlockingIOError: another recorder is at work there.
    """

    def __init__(
        self,
        folder: Path,
        model: keras.Model,
        ema: float | None,
        output_kinds: list[str | None] | None,
        spacing: Spacing,
        overwrite: bool,
        training: object,
    ) -> None:
        self._copy = bare_copy(model)
        self._manifest = Manifest(
            folder=folder,
            model=model_config(model),
            variables=variable_specs(model),
            steps_per_epoch=None,
            total_steps=0,
            ema=ema,
            checkpoints=(),
            output_kinds=output_kinds,
            finished=False,
            spacing=spacing,
        )
        self._overwrite = overwrite
        self._training = training
        self._hold = None
        self._former: Manifest | None = None
        self._foreign: ValueError | None = None
        self.lacks_present = False
        """Whether the checkpoint of the step at which training resumes is missing."""
        if check_folder("folder", folder).exists():
            self._hold = Hold(folder, training)
            try:
                self._former = _read_former(self._manifest, model.name)
            except ValueError as error:
                if not overwrite:
                    self.close()
                    raise
                self._foreign = error

    def close(self) -> None:
        """Lets other recorders into the folder."""
        if self._hold is not None:
            self._hold.let_go()

    @property
    def last(self) -> Checkpoint | None:
        """The last checkpoint that the trajectory has."""
        checkpoints = self._manifest.checkpoints
        return checkpoints[-1] if checkpoints else None

    def begin(
        self, epoch: int, steps_per_epoch: int | None, model: keras.Model
    ) -> int | None:
        """Makes the folder ready for a training that begins at `epoch`.

        Keeps what was recorded up to then and removes the rest.

        Args:
            epoch: the epoch at which training begins or is resumed.
            steps_per_epoch: batches per epoch, `None` where unknown.
            model: the teacher, with the weights that training begins with.

        Returns:
            Batches per epoch, from the former recording where it was not known.

        Raises:
            ValueError: the former recording cannot be continued. Nothing has changed.
        """
        former = self._former
        kept: tuple[Checkpoint, ...] = ()
        lost: tuple[int, ...] = ()
        start = 0
        output_kinds = self._manifest.output_kinds
        if epoch > 0:
            if self._foreign is not None:
                raise self._foreign
            if former is not None and steps_per_epoch is None:
                steps_per_epoch = former.steps_per_epoch
            if steps_per_epoch is None:
                raise ValueError(
                    "TrajectoryRecorder must know how many batches came before. "
                    f"Received: initial epoch {epoch} and a data set of unknown "
                    "length. Pass `fit(..., steps_per_epoch=...)`."
                )
            start = epoch * steps_per_epoch
            if former is not None:
                if former.checkpoints:
                    self._check_continues(former, steps_per_epoch)
                kept = tuple(c for c in former.checkpoints if c.step <= start)
                lost = self._lost(former, kept, start, steps_per_epoch)
                if not any(output_kinds or ()):
                    output_kinds = former.output_kinds
        if former is not None and not self._overwrite:
            _check_may_cut(former, len(kept), epoch)
            self._check_backup(former, kept, start, model)
        self._manifest = dataclasses.replace(
            self._manifest,
            steps_per_epoch=steps_per_epoch,
            total_steps=kept[-1].step if kept else start,
            checkpoints=kept,
            output_kinds=output_kinds,
            lost=lost,
        )
        self._take_folder()
        if former is None or (former.checkpoints, former.lost) != (kept, lost):
            self._manifest.write()
        for leftover in list(self._manifest.leftovers()):
            leftover.unlink()
        return steps_per_epoch

    def _take_folder(self) -> None:
        folder = self._manifest.folder
        if self._hold is not None:
            self._hold.check()
            return
        make_folder(folder)
        self._hold = Hold(folder, self._training)
        if self._manifest.is_there():  # somebody was quicker, and has ended already
            self.close()
            raise BlockingIOError(
                f"Another TrajectoryRecorder has recorded in '{folder}' since this "
                "training began. Give each one a folder of its own."
            )

    def _lost(
        self,
        former: Manifest,
        kept: tuple[Checkpoint, ...],
        start: int,
        steps_per_epoch: int,
    ) -> tuple[int, ...]:
        """Steps up to `start` at which a checkpoint was due that nobody has."""
        after = kept[-1].step if kept else min(former.total_steps, start)
        spacing = former.spacing or self._manifest.spacing
        assert spacing is not None
        due = spacing.due_steps(after, start, steps_per_epoch)
        if start in due and self._manifest.ema is None:
            self.lacks_present = True  # the model's weights are that checkpoint
            due.remove(start)
        if due:
            warnings.warn(
                f"The trajectory in '{former.folder}' lacks the checkpoints of "
                f"{shortened(due)}: training was interrupted before they were "
                "written, and goes on after them. OnlineTeacher refuses it. Record "
                "it again with overwrite=True, with callbacks=[recorder, backup] in "
                "this order, or teach from the checkpoints that there are with "
                "`TeacherTrajectory.from_files`.",
                stacklevel=2,
            )
        return (*(step for step in former.lost if step <= start), *due)

    def _check_continues(self, former: Manifest, steps_per_epoch: int) -> None:
        for name, before, now in (
            ("steps_per_epoch", former.steps_per_epoch, steps_per_epoch),
            ("ema", former.ema, self._manifest.ema),
        ):
            if before != now:
                raise ValueError(
                    f"A trajectory must be resumed with the `{name}` that it was begun "
                    f"with. Received: {name}={now}, and '{former.folder}' was recorded "
                    f"with {name}={before}. Resume as before, or begin at epoch 0."
                )

    def _check_backup(
        self,
        former: Manifest,
        kept: tuple[Checkpoint, ...],
        start: int,
        model: keras.Model,
    ) -> None:
        """Refuses weights of the next checkpoint: an epoch would be trained twice.

        `BackupAndRestore` writes weights first and their epoch then; a kill falls
        between the two now and then.
        """
        later = former.checkpoints[len(kept) : len(kept) + 1]
        if former.ema is not None or not later or former.finished:
            return
        now = [keras.ops.convert_to_numpy(v.value) for v in model.weights]
        same = []
        for checkpoint in (*later, *kept[-1:]):
            try:
                there = self._read(checkpoint)
            except (ValueError, FileNotFoundError):
                there = []
            same.append(len(there) == len(now) and all(map(np.array_equal, there, now)))
        if same[0] and not any(same[1:]):
            raise ValueError(
                "A training must be resumed with the weights of its step. Received: "
                f"step {start}, and the weights that '{former.folder}' holds of step "
                f"{later[0].step}: a backup (`BackupAndRestore`) of which a kill has "
                "left one half. Delete it, and go on from the trajectory: "
                "`TeacherTrajectory(folder).load(-1, teacher)` and "
                f"`fit(..., initial_epoch={former.checkpoints[-1].epoch})`."
            )

    def read_last(self) -> list[np.ndarray]:
        """The weights of the last checkpoint.

        Raises:
            ValueError: the file is truncated or altered.
            FileNotFoundError: it is missing.
        """
        assert self.last is not None
        return self._read(self.last)

    def _read(self, checkpoint: Checkpoint) -> list[np.ndarray]:
        with keras.device("cpu"):
            read_weights(checkpoint, self._copy)
        return [keras.ops.convert_to_numpy(v.value) for v in self._copy.weights]

    def write(
        self,
        weights: Iterable[np.ndarray],
        step: int,
        epoch: int,
        metrics: Mapping[str, Any],
        steps_per_epoch: int | None,
        ema_updates: int = 0,
    ) -> None:
        """Adds a checkpoint.

        Args:
            weights: values of the model's `weights`, in order.
            step: batches completed.
            epoch: epochs completed.
            metrics: the logs; only numbers are kept.
            steps_per_epoch: batches per epoch, `None` where still unknown.
            ema_updates: how many steps the average has seen.
        """
        non_finite = None
        for variable, value in zip(self._copy.weights, weights, strict=True):
            with keras.device("cpu"):
                variable.assign(value)
            if non_finite is None and not _is_finite(variable):
                non_finite = variable.path

        path = self._manifest.folder / f"step-{step:08d}.weights.h5"
        assert self._hold is not None
        self._hold.check()
        with replacing(path) as temporary:
            temporary.write_bytes(weights_file(self._copy))
            size, digest = temporary.stat().st_size, sha256(temporary)

        checkpoint = Checkpoint(
            index=len(self._manifest.checkpoints),
            step=step,
            epoch=epoch,
            metrics=_finite_numbers(metrics),
            file=path,
            size=size,
            sha256=digest,
            non_finite=non_finite,
            ema_updates=ema_updates,
        )
        self._manifest = dataclasses.replace(
            self._manifest,
            steps_per_epoch=steps_per_epoch,
            total_steps=step,
            checkpoints=(*self._manifest.checkpoints, checkpoint),
        )
        self._manifest.write()

    def finish(self) -> None:
        """Notes that training has come to its end."""
        assert self._hold is not None
        self._hold.check()
        self._manifest = dataclasses.replace(self._manifest, finished=True)
        self._manifest.write()


def _check_may_cut(former: Manifest, kept: int, epoch: int) -> None:
    """Refuses to remove checkpoints that no interrupted training has to give up."""
    removed = len(former.checkpoints) - kept
    interrupted = former.finished is False
    # Who was interrupted in the first epoch, or right after it, begins at epoch 0.
    short = former.total_steps <= (former.steps_per_epoch or former.total_steps)
    if not removed or (interrupted and (epoch > 0 or short)):
        return
    last = former.checkpoints[-1]
    raise ValueError(
        "`folder` must be empty or hold a trajectory that this training continues. "
        f"Received: '{former.folder}', with {len(former.checkpoints)} checkpoints up "
        f"to epoch {last.epoch}, of which a training from epoch {epoch} on would "
        f"replace {removed}. Choose another folder, continue with "
        f"`fit(..., initial_epoch={last.epoch})`, or have them replaced with "
        "`TrajectoryRecorder(..., overwrite=True)` (--overwrite)."
    )


def _read_former(manifest: Manifest, model_name: str) -> Manifest | None:
    """What the folder holds already, if it is of the same model."""
    folder = check_folder("folder", manifest.folder)
    try:
        former = Manifest.read(folder)
    except FileNotFoundError:
        return None
    if not same_architecture(former.model, manifest.model) or first_difference(
        former.variables, manifest.variables
    ):
        former_config = former.model.get("config") or {}
        raise ValueError(
            "`folder` must be empty or hold a trajectory of the same architecture. "
            f"Received: '{folder}', which holds one of model "
            f"'{former_config.get('name')}', for model '{model_name}', whose "
            "architecture is another."
        )
    return former


def _is_finite(variable: keras.Variable) -> bool:
    if not keras.backend.is_float_dtype(variable.dtype):
        return True
    return bool(np.isfinite(keras.ops.convert_to_numpy(variable.value)).all())


def _finite_numbers(logs: Mapping[str, Any]) -> dict[str, float | None]:
    """The logs that are numbers, as JSON has them: it has no NaN."""
    numbers: dict[str, float | None] = {}
    for name, value in logs.items():
        try:
            number = float(value)
        except (TypeError, ValueError):
            continue
        numbers[name] = number if math.isfinite(number) else None
    return numbers
