"""TrajectoryRecorder: records a teacher while it trains."""

import dataclasses
import hashlib
import importlib
import math
import operator
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_kd.teachers.bare_copy import bare_copy
from keras_kd.teachers.manifest import (
    Checkpoint,
    Manifest,
    first_difference,
    model_config,
    put_in_place,
    same_architecture,
    variable_specs,
)
from keras_kd.teachers.trajectory import read_weights

WeightAverage = importlib.import_module(
    f"keras_kd.backend.{keras.backend.backend()}"
).WeightAverage


class TrajectoryRecorder(keras.callbacks.Callback):
    r"""Records a model's weights at intervals of its training, for `OnlineTeacher`.

    Pass it to the teacher's own `fit`. Each checkpoint is a Keras `.weights.h5` with
    the model's weights, and without its optimizer; `trajectory.json` says of each at
    which step, epoch and metrics it was taken. The state after the last batch is
    always recorded. The teacher trains exactly as it would without the recorder.

    A crash, at any moment, leaves a trajectory that can be read. When training is
    resumed at a later epoch (`initial_epoch`, `keras.callbacks.BackupAndRestore`),
    what had been recorded after that epoch is removed; when it starts at epoch 0,
    all of it is. A folder with the trajectory of another architecture is refused.

    With `ema`, an exponential moving average of the weights is recorded instead of the
    weights: in a phase of high learning rate it is often much the better teacher. All
    floating weights are averaged, batch statistics included, in float32 at least, once
    a step: $\bar w \leftarrow d \bar w + (1 - d) w$, with
    $d = \min(\mathrm{ema}, (1 + s) / (10 + s))$ after `s` updates, so that the average
    does not hang on to the initial weights. On resuming, the average goes on from the
    checkpoint at that very step; if there is none, it begins anew. With
    `steps_per_execution=N` a checkpoint can only be taken, and the average updated,
    after each execution; the decay is then $d^N$.

    What enters the model when training has ended (`EarlyStopping` that restores
    weights, an optimizer's own `use_ema`) is no part of the trajectory.

    Args:
        folder: where to record; made if it does not exist.
        every: record after every so many units.
        unit: `"epoch"` or `"step"` (a batch).
        growth: `None` for equal intervals. A number above 1 for geometric ones: the
            first after `every` units, each further one when `growth` times as many
            have passed.
        ema: decay per step, in (0, 1), of the average to record. `None` records the
            weights themselves.

    Raises:
        ValueError: an argument is out of range. When training begins, and before
            anything is written: the folder holds the trajectory of another model, or
            the model cannot be rebuilt from its config.

    Example:

    ```python
    recorder = keras_kd.TrajectoryRecorder("teacher", every=2, ema=0.99)
    teacher.fit(x, y, epochs=30, callbacks=[recorder])
    trajectory = keras_kd.TeacherTrajectory("teacher")
    ```

    Source of the averaging: Polyak & Juditsky, "Acceleration of stochastic
    approximation by averaging", 1992.
    """

    # What it does after a batch is to count it, and that may happen at any time before
    # the epoch ends. So Keras need not wait for each batch.
    async_safe = True

    def __init__(self, folder, every=1, unit="epoch", growth=None, ema=None):
        super().__init__()
        self.folder = Path(folder)
        self.every = _positive_integer("every", every)
        if unit not in ("epoch", "step"):
            raise ValueError(f"`unit` must be 'epoch' or 'step'. Received: unit={unit}")
        self.unit = unit
        if growth is not None and not growth > 1:
            raise ValueError(f"`growth` must be > 1. Received: growth={growth}")
        # As written: 1.1 means 11/10, so that ten times it is 11.
        self.growth = None if growth is None else Fraction(str(growth))
        if ema is not None and not 0 < ema < 1:
            raise ValueError(f"`ema` must be in (0, 1). Received: ema={ema}")
        self.ema = ema

        self._manifest: Manifest | None = None
        self._copy: Any = None
        self._weights: list[Any] = []
        self._average: Any = None
        self._ema_updates = 0
        self._started = False
        self._steps_per_epoch: int | None = None
        self._epoch_start = 0  # the step at which the running epoch began
        self._accounted = 0  # batches of the running epoch that the average has seen
        self._counted = 0  # batches of the running epoch that have ended
        self._due = 0
        self._epoch = 0
        self._ended: tuple[int, dict[str, Any]] = (0, {})

    # Keras's hooks

    def on_train_begin(self, logs=None):
        model = self.model
        self._copy = bare_copy(model)
        self._weights = list(model.weights)
        self._average = None
        self._steps_per_epoch = (self.params or {}).get("steps")
        manifest = Manifest(
            folder=self.folder,
            model=model_config(model),
            variables=variable_specs(model),
            steps_per_epoch=self._steps_per_epoch,
            total_steps=0,
            ema=self.ema,
            checkpoints=(),
        )
        if self.folder.exists() and not self.folder.is_dir():
            raise ValueError(
                f"`folder` must be a folder. Received: '{self.folder}', a file."
            )
        try:
            old = Manifest.read(self.folder)
        except FileNotFoundError:
            old = None
        if old is not None:
            if not same_architecture(old.model, manifest.model) or first_difference(
                old.variables, manifest.variables
            ):
                raise ValueError(
                    "`folder` must be empty or hold a trajectory of the same "
                    f"architecture. Received: '{self.folder}', which holds one of "
                    f"model '{_name(old.model)}', for model '{model.name}'."
                )
            manifest = dataclasses.replace(
                manifest,
                steps_per_epoch=old.steps_per_epoch,
                total_steps=old.total_steps,
                ema=old.ema,
                checkpoints=old.checkpoints,
            )
        self._manifest = manifest
        self._started = False

    def on_epoch_begin(self, epoch, logs=None):
        if not self._started:
            self._start(epoch)
            self._started = True
        else:
            self._epoch_start = self._step
        self._accounted = 0
        self._counted = 0
        self._epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if batch == 0:
            return
        self._account(batch)
        if self.unit == "step" and self._step >= self._due:
            metrics = self.model.get_metrics_result()
            self._record(self._epoch, metrics)

    def on_train_batch_end(self, batch, logs=None):
        # Threads of their own, so in any order.
        self._counted = max(self._counted, batch + 1)

    def on_epoch_end(self, epoch, logs=None):
        # The last execution counts full in Keras, however few batches were left.
        self._account(min(self._counted, self._steps_per_epoch or self._counted))
        if self._steps_per_epoch is None:
            self._steps_per_epoch = self._accounted
        self._ended = (epoch + 1, dict(logs or {}))
        position = epoch + 1 if self.unit == "epoch" else self._step
        if position >= self._due:
            self._record(*self._ended)

    def on_train_end(self, logs=None):
        if self._started and self._step > self._last_recorded_step():
            self._record(*self._ended)
        self._manifest = self._copy = self._average = None
        self._weights = []

    # Where training stands

    @property
    def _step(self) -> int:
        return self._epoch_start + self._accounted

    def _last_recorded_step(self) -> int:
        checkpoints = self._manifest.checkpoints
        return checkpoints[-1].step if checkpoints else 0

    def _next_due(self, position: int) -> int:
        """The first moment after `position` to record at, in units."""
        if self.growth is None:
            return (position // self.every + 1) * self.every
        due = self.every
        while due <= position:
            due = max(due + 1, math.ceil(due * self.growth))
        return due

    # Beginning and resuming

    def _start(self, epoch: int) -> None:
        manifest = self._resumable(epoch) if epoch > 0 else self._restarted()
        self._epoch_start = epoch * (self._steps_per_epoch or 0)
        self.folder.mkdir(parents=True, exist_ok=True)
        # First the manifest, then the files: it must never name one that is gone.
        if manifest.checkpoints != self._manifest.checkpoints:
            manifest.write()
        self._manifest = manifest
        for leftover in list(manifest.leftovers()):
            leftover.unlink()
        self._due = self._next_due(epoch if self.unit == "epoch" else self._epoch_start)
        if self.ema is not None:
            self._start_average()

    def _restarted(self) -> Manifest:
        return dataclasses.replace(
            self._manifest,
            steps_per_epoch=self._steps_per_epoch,
            total_steps=0,
            ema=self.ema,
            checkpoints=(),
        )

    def _resumable(self, epoch: int) -> Manifest:
        """The manifest of what was recorded up to the beginning of `epoch`."""
        old = self._manifest
        recorded = bool(old.checkpoints)
        self._steps_per_epoch = self._steps_per_epoch or old.steps_per_epoch
        if self._steps_per_epoch is None:
            raise ValueError(
                "TrajectoryRecorder must know how many batches came before. Received: "
                f"initial epoch {epoch} and a data set of unknown length. Pass "
                "`fit(..., steps_per_epoch=...)`."
            )
        for name, before, now in (
            ("steps_per_epoch", old.steps_per_epoch, self._steps_per_epoch),
            ("ema", old.ema, self.ema),
        ):
            if recorded and before != now:
                raise ValueError(
                    f"A trajectory must be resumed with the `{name}` that it was begun "
                    f"with. Received: {name}={now}, and '{self.folder}' was recorded "
                    f"with {name}={before}. Resume as before, or begin at epoch 0."
                )
        start = epoch * self._steps_per_epoch
        kept = tuple(c for c in old.checkpoints if c.step <= start)
        return dataclasses.replace(
            old,
            steps_per_epoch=self._steps_per_epoch,
            total_steps=kept[-1].step if kept else 0,
            ema=self.ema,
            checkpoints=kept,
        )

    # The average

    def _start_average(self) -> None:
        """Begins with the model's weights, or with the average recorded right here."""
        source = self._weights
        self._ema_updates = 0
        checkpoints = self._manifest.checkpoints
        if checkpoints and checkpoints[-1].step == self._step:
            read_weights(checkpoints[-1], self._copy)
            source = self._copy.weights
            self._ema_updates = checkpoints[-1].ema_updates
        floating = [_is_floating(v) for v in self._weights]
        self._average = WeightAverage(
            [v for v, f in zip(self._weights, floating, strict=True) if f],
            [_wide(v) for v, f in zip(source, floating, strict=True) if f],
        )

    def _account(self, batch: int) -> None:
        """Takes note that `batch` batches of the running epoch are done."""
        steps = batch - self._accounted
        self._accounted = batch
        if self._average is None or steps <= 0:
            return
        self.model  # noqa: B018  brings the state back into the variables on JAX
        s = self._ema_updates
        self._average.update(min(self.ema, (1 + s) / (10 + s)) ** steps)
        self._ema_updates += steps

    # Recording

    def _record(self, epoch: int, metrics: Mapping[str, Any]) -> None:
        self.model  # noqa: B018  brings the state back into the variables on JAX
        averages = iter(self._average.numpy() if self._average is not None else ())
        non_finite = None
        for variable, copy in zip(self._weights, self._copy.weights, strict=True):
            averaged = self._average is not None and _is_floating(variable)
            copy.assign(
                next(averages)
                if averaged
                else keras.ops.convert_to_numpy(variable.value)
            )
            if non_finite is None and not _is_finite(copy):
                non_finite = copy.path

        step = self._step
        path = self.folder / f"step-{step:08d}.weights.h5"
        temporary = path.with_name(f"step-{step:08d}.tmp.weights.h5")
        self._copy.save_weights(temporary)
        content = temporary.read_bytes()
        put_in_place(temporary, path)

        checkpoint = Checkpoint(
            index=len(self._manifest.checkpoints),
            step=step,
            epoch=epoch,
            metrics=_finite_numbers(metrics),
            file=path,
            size=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            non_finite=non_finite,
            ema_updates=self._ema_updates,
        )
        self._manifest = dataclasses.replace(
            self._manifest,
            steps_per_epoch=self._steps_per_epoch,
            total_steps=step,
            checkpoints=(*self._manifest.checkpoints, checkpoint),
        )
        self._manifest.write()
        self._due = self._next_due(epoch if self.unit == "epoch" else step)


def _positive_integer(name: str, value) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = 0
    if number < 1:
        raise ValueError(f"`{name}` must be an integer >= 1. Received: {name}={value}")
    return number


def _name(config: Mapping[str, Any]) -> str:
    return config.get("config", {}).get("name") or config.get("class_name", "unknown")


def _is_floating(variable) -> bool:
    return keras.backend.is_float_dtype(variable.dtype)


def _wide(variable) -> np.ndarray:
    """The value, copied, in float32 at least: a float16 average would stand still."""
    value = keras.ops.convert_to_numpy(variable.value)
    wide = np.float64 if value.dtype == np.float64 else np.float32
    return np.array(value, dtype=wide)


def _is_finite(variable) -> bool:
    if not _is_floating(variable):
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
