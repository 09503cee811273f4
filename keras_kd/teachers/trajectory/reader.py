"""TeacherTrajectory: the recorded stages of a teacher's own training."""

import math
import os
from collections.abc import Iterable
from copy import deepcopy
from pathlib import Path
from typing import Any

import keras

from keras_kd.arguments import check_path
from keras_kd.files import sha256
from keras_kd.forward.claims import bytes_of, check_claims
from keras_kd.keras_internals import keras_reason
from keras_kd.teachers.stages import Stages
from keras_kd.teachers.trajectory.architecture import (
    first_difference,
    variable_specs,
)
from keras_kd.teachers.trajectory.bare_copy import bare_copy
from keras_kd.teachers.trajectory.manifest import Checkpoint, Manifest
from keras_kd.teachers.trajectory.of_files import manifest_of_files
from keras_kd.teachers.trajectory.spacing import shortened
from keras_kd.teachers.trajectory.weights_file import load_file


class TeacherTrajectory(Stages[Checkpoint]):
    """A teacher's checkpoints, in the order of its training.

    A sequence of `Checkpoint`: `len(trajectory)`, `trajectory[0]`, `trajectory[-1]`,
    `for checkpoint in trajectory`.

    Args:
        folder: where `keras_kd.TrajectoryRecorder` wrote it.

    Raises:
        FileNotFoundError: there is no trajectory.
        ValueError: its manifest cannot be read, or names no checkpoint.

    Example:

    ```python
    teacher.fit(x, y, epochs=30, callbacks=[keras_kd.TrajectoryRecorder("teacher")])

    trajectory = keras_kd.TeacherTrajectory("teacher")
    for checkpoint in trajectory:
        print(checkpoint.step, checkpoint.epoch, checkpoint.metrics)
    early_teacher = trajectory.load(0)
    ```
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        manifest = Manifest.read(check_path("folder", folder))
        if not manifest.checkpoints:
            raise ValueError(
                f"The trajectory in '{folder}' must hold at least one checkpoint. "
                "Received: an empty one; its recording had just begun."
            )
        self._read(manifest)

    def _read(self, manifest: Manifest) -> None:
        self._manifest = manifest
        super().__init__(
            manifest.checkpoints,
            manifest.total_steps,
            f"the trajectory in '{manifest.folder}'",
        )
        self._copy: Any = None

    @classmethod
    def from_files(
        cls,
        files: Iterable[str | os.PathLike[str]],
        steps: Iterable[int] | None = None,
        model: keras.Model | None = None,
    ) -> "TeacherTrajectory":
        """Checkpoints that were saved without a recorder, as a trajectory.

        Each file is read once, to see that it fits, and nothing is written. They are
        to stay where they are.

        Args:
            files: `.weights.h5` or `.keras` files of one model, in the order of its
                training, as `keras.callbacks.ModelCheckpoint` saves them.
            steps: teacher batches completed when each was saved, increasing; of the
                last one, in all. `None`: at equal distances.
            model: the teacher. `None`: the one in the first file, a `.keras`.

        Returns:
            The trajectory, for `OnlineTeacher`, `SupervisionCache.build`,
            `compare_teachers` and `keras_kd.teachers.mean`.

        Raises:
            ValueError: an argument is something else, or a file does not hold weights
                of the model; it is named.
            FileNotFoundError: a file is missing.

        Example:

        >>> import tempfile
        >>> net = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> net.compile("sgd", "mse")
        >>> folder = tempfile.mkdtemp()
        >>> save = keras.callbacks.ModelCheckpoint(folder + "/{epoch:02d}.keras")
        >>> x, y = np.ones((8, 4)), np.zeros((8, 3))
        >>> history = net.fit(x, y, 4, epochs=3, verbose=0, callbacks=[save])
        >>> files = sorted(Path(folder).glob("*.keras"))
        >>> trajectory = TeacherTrajectory.from_files(files, steps=[2, 4, 6])
        >>> print([c.step for c in trajectory])
        [2, 4, 6]
        """
        trajectory = cls.__new__(cls)
        trajectory._read(manifest_of_files(files, steps, model))
        return trajectory

    def __repr__(self) -> str:
        return (
            f"<TeacherTrajectory '{self.folder}': {len(self)} checkpoints, "
            f"{self.total_steps} steps>"
        )

    @property
    def folder(self) -> Path:
        """Where the trajectory lies."""
        return self._manifest.folder

    @property
    def steps_per_epoch(self) -> int | None:
        """Batches per epoch of the teacher's training, `None` where unknown."""
        return self._manifest.steps_per_epoch

    @property
    def ema(self) -> float | None:
        """Decay of the recorded average, `None` for the weights themselves."""
        return self._manifest.ema

    @property
    def finished(self) -> bool | None:
        """Whether the teacher's training came to its end.

        `None` where it is not known: trajectories of version 0.1 do not say it.
        """
        return self._manifest.finished

    @property
    def lost(self) -> tuple[int, ...]:
        """Steps at which a checkpoint was due that an interruption has lost."""
        return self._manifest.lost

    @property
    def model_config(self) -> dict[str, Any]:
        """The teacher, as `keras.saving.serialize_keras_object` gave it."""
        return self._manifest.model

    @property
    def output_kinds(self) -> list[str | None] | None:
        """What each output means, in the order of `keras.tree.flatten`.

        `"categorical"`, `"bernoulli"` or `"continuous"`, or `None` where it is not
        known. Trajectories of version 0.1 do not say it: then this is `None`.
        """
        kinds = self._manifest.output_kinds
        return None if kinds is None else list(kinds)

    def check(self, model: keras.Model | None = None) -> None:
        """Refuses, without reading any weights, a trajectory that cannot be loaded.

        Args:
            model: the model that the checkpoints are to be loaded into, if any.

        Raises:
            ValueError: the model's variables are not those recorded, a file is
                truncated, or holds weights that are not finite.
            FileNotFoundError: a file is missing.
        """
        if model is not None:
            self._check_model(model)
        for checkpoint in self:
            _check_file(checkpoint)

    def check_complete(self) -> None:
        """Refuses a trajectory of which checkpoints were lost.

        Raises:
            ValueError: names their steps, and what can be done.
        """
        if self.lost:
            raise ValueError(
                f"The trajectory in '{self.folder}' must have all its checkpoints. "
                f"Received: one that lost those of {shortened(self.lost)} when "
                "training was interrupted. Record it again, or take the checkpoints "
                "that there are: `TeacherTrajectory.from_files([c.file for c in "
                "trajectory], steps=[c.step for c in trajectory], model=teacher)`."
            )

    def load(self, index: int, model: keras.Model | None = None) -> keras.Model:
        """A checkpoint's weights in a model.

        Args:
            index: which checkpoint; negative counts from the end.
            model: the model to assign them to, in place: its `weights`, and nothing
                else of it. `None` for a new model, made from the recorded config (give
                custom classes by `keras.saving.custom_object_scope`).

        Returns:
            The model.

        Raises:
            ValueError: the model's variables are not those recorded, or the file is
                truncated, altered, or holds weights that are not finite. Then nothing
                has been assigned.
            FileNotFoundError: the file is missing.
        """
        checkpoint = self[index]
        if model is None:
            # No memory is taken for what the file does not hold.
            _check_file(checkpoint)
            _check_claims(checkpoint, self._manifest)
            model = self._rebuild()
            self._check_model(model)
            read_weights(checkpoint, model)
            return model
        self._check_model(model)
        if self._copy is None:
            self._copy = bare_copy(model)
        with keras.device("cpu"):
            read_weights(checkpoint, self._copy)
        for variable, source in zip(model.weights, self._copy.weights, strict=True):
            variable.assign(keras.ops.convert_to_numpy(source))
        return model

    def _check_model(self, model: keras.Model) -> None:
        difference = first_difference(self._manifest.variables, variable_specs(model))
        if difference:
            raise ValueError(
                f"The trajectory in '{self.folder}' must be of the same architecture "
                f"as the model. Received: model '{model.name}', but {difference}."
            )

    def _rebuild(self) -> keras.Model:
        try:
            # Keras takes apart what it is given.
            return keras.saving.deserialize_keras_object(deepcopy(self.model_config))
        except Exception as error:
            raise ValueError(
                f"The teacher recorded in '{self.folder}' cannot be built from its "
                f"config: {keras_reason(error)}. Pass the model to load into, "
                "`load(i, model)`."
            ) from error


def read_weights(checkpoint: Checkpoint, model: keras.Model) -> None:
    """Reads a checkpoint's file, once checked, into an uncompiled model.

    Raises:
        ValueError: the file is truncated, altered, of another model, or holds weights
            that are not finite.
        FileNotFoundError: it is missing.
    """
    _check_file(checkpoint)
    digest = sha256(checkpoint.file)
    if digest != checkpoint.sha256:
        raise _broken(
            checkpoint,
            f"it was altered: its SHA-256 is {digest}, recorded was "
            f"{checkpoint.sha256}",
        )
    try:
        load_file(checkpoint.file, model)
    except Exception as error:
        raise _broken(
            checkpoint, f"it is not one of model '{model.name}' ({keras_reason(error)})"
        ) from error


def _check_file(checkpoint: Checkpoint) -> None:
    if checkpoint.file.is_symlink():
        raise _broken(checkpoint, "it is a link; put the file itself there")
    try:
        size = checkpoint.file.stat().st_size
    except FileNotFoundError:
        raise FileNotFoundError(
            f"Checkpoint {checkpoint.index} cannot be loaded: {checkpoint.file} is "
            "missing."
        ) from None
    if size != checkpoint.size:
        how = "truncated" if size < checkpoint.size else "altered"
        raise _broken(
            checkpoint, f"it was {how}: it has {size} of {checkpoint.size} bytes"
        )
    if checkpoint.non_finite is not None:
        raise _broken(
            checkpoint,
            f"it holds NaN or infinite values in '{checkpoint.non_finite}': the "
            f"teacher had diverged by step {checkpoint.step}",
        )


def _check_claims(checkpoint: Checkpoint, manifest: Manifest) -> None:
    """Refuses variables, and a config, of more bytes than the file has."""
    claimed = sum(math.prod(v.shape) * bytes_of(v.dtype) for v in manifest.variables)
    if claimed > checkpoint.size and checkpoint.file.suffix != ".keras":
        raise _broken(
            checkpoint,
            f"the variables recorded in '{manifest.folder}' have {claimed} bytes, and "
            f"the file {checkpoint.size}",
        )
    if checkpoint.file.suffix != ".keras":
        try:
            check_claims(manifest.model, checkpoint.size)
        except ValueError as error:
            raise _broken(checkpoint, str(error)) from None


def _broken(checkpoint: Checkpoint, reason: str) -> ValueError:
    return ValueError(
        f"Checkpoint {checkpoint.index} cannot be loaded from {checkpoint.file}: "
        f"{reason}. Load another one, or record the teacher again."
    )
