"""TrajectoryRecorder: records a teacher while it trains."""

import os
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Literal

import keras
import numpy as np

from keras_kd.arguments import check_boolean, check_folder, check_fraction
from keras_kd.backend import WeightAverage
from keras_kd.teachers.known_kinds import kinds_of_model
from keras_kd.teachers.trajectory.spacing import Spacing
from keras_kd.teachers.trajectory.writer import TrajectoryWriter


class TrajectoryRecorder(keras.callbacks.Callback):
    r"""Records a model's weights at intervals of its training, for `OnlineTeacher`.

    Pass it to the teacher's own `fit`. Each checkpoint is a Keras `.weights.h5` with
    the model's weights, and without its optimizer; `trajectory.json` says of each at
    which step, epoch and metrics it was taken. The state after the last batch is
    always recorded. The teacher trains exactly as it would without the recorder.

    A crash, at any moment, leaves a trajectory that can be read. When a training that
    was interrupted is resumed at a later epoch (`initial_epoch`,
    `keras.callbacks.BackupAndRestore`), what had been recorded after that epoch is
    recorded anew. Nothing else is replaced without `overwrite=True`: a finished
    trajectory can only be gone on with, one that got beyond its first epoch is not
    begun again, and the trajectory of another architecture is refused. A folder has
    one recorder at a time, of this process or another.

    The order of the recorder and `BackupAndRestore` does not matter. Where a crash
    falls between the two, the backup being written and the checkpoint not yet, the
    restored weights are that checkpoint: it is recorded when training goes on, without
    its metrics. An average (`ema`) cannot be had back: then a warning says which steps
    are lost, the manifest holds it, and `OnlineTeacher` refuses the trajectory. With
    the recorder first, `callbacks=[recorder, backup]`, that cannot happen.

    A kill can also leave a backup that `BackupAndRestore` itself cannot read
    (`JSONDecodeError`, or an error of HDF5, as `fit` begins), or one whose weights are
    an epoch ahead of what it says, which the recorder refuses where it comes first in
    `callbacks` (without `ema` and `overwrite`);
    `BackupAndRestore(..., double_checkpoint=True)` makes it rarer. Delete its folder
    then, and go on from the trajectory, with an optimizer that begins anew:
    `trajectory = keras_kd.TeacherTrajectory(folder)`,
    `trajectory.load(-1, teacher)`,
    `teacher.fit(..., initial_epoch=trajectory[-1].epoch, callbacks=[recorder])`.

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
        overwrite: whether what the folder holds already may be replaced.

    Raises:
        ValueError: an argument is out of range. When training begins, and before
            anything is written: the folder holds a trajectory that would be cut or
            that is of another model, or the model cannot be rebuilt from its config.
        BlockingIOError: another recorder is at work in the folder.

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

    def __init__(
        self,
        folder: str | os.PathLike[str],
        every: int = 1,
        unit: Literal["epoch", "step"] = "epoch",
        growth: float | Fraction | None = None,
        ema: float | None = None,
        overwrite: bool = False,
    ) -> None:
        super().__init__()
        self.folder = check_folder("folder", folder)
        self.spacing = Spacing.of(every, unit, growth)
        self.overwrite = check_boolean("overwrite", overwrite)
        self.ema = None if ema is None else check_fraction("ema", ema)

        self._writer: Any = None
        self._average: WeightAverage | None = None
        self._ema_updates = 0
        self._due = 0
        self._begun = False
        self._steps_per_epoch: int | None = None
        # The running epoch: its index, the step at which it began, the batches of it
        # that the average has seen, and those that have ended.
        self._epoch = 0
        self._epoch_start = 0
        self._accounted = 0
        self._ended = 0
        self._last_logs: Mapping[str, Any] = {}

    def __repr__(self) -> str:
        every = f"every={self.spacing.every}, unit='{self.spacing.unit}'"
        return f"TrajectoryRecorder('{self.folder}', {every})"

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        if self._writer is not None:  # an exception has ended the training before
            self._writer.close()
        self._writer = TrajectoryWriter(
            self.folder,
            self.model,
            self.ema,
            output_kinds=kinds_of_model(self.model),
            spacing=self.spacing,
            overwrite=self.overwrite,
            training=self.params,
        )
        self._steps_per_epoch = self.params["steps"]
        self._average = None
        self._begun = False

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        # The first epoch is known only now, and only now are the weights there that
        # another callback may have restored.
        if self._begun:
            self._epoch_start = self._step
        else:
            self._begin(epoch)
        self._epoch = epoch
        self._accounted = self._ended = 0

    def on_train_batch_begin(
        self, batch: int, logs: Mapping[str, Any] | None = None
    ) -> None:
        if batch == 0:
            return
        self._account(batch)
        if self.spacing.unit == "step" and self._step >= self._due:
            self._record(self._epoch, self.model.get_metrics_result())

    def on_train_batch_end(
        self, batch: int, logs: Mapping[str, Any] | None = None
    ) -> None:
        self._ended = max(self._ended, batch + 1)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        # Keras counts the last execution full, however few batches were left for it.
        self._account(min(self._ended, self.params["steps"] or self._ended))
        if self._steps_per_epoch is None:
            self._steps_per_epoch = self._accounted
        self._last_logs = dict(logs or {})
        if self._position(epoch + 1) >= self._due:
            self._record(epoch + 1, self._last_logs)

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        if self._begun:
            last = self._writer.last
            if last is None or last.step < self._step:
                self._record(self._epoch + 1, self._last_logs)
            self._writer.finish()
        self._writer.close()
        self._writer = self._average = None

    @property
    def _step(self) -> int:
        """Batches completed since epoch 0."""
        return self._epoch_start + self._accounted

    def _begin(self, epoch: int) -> None:
        self._steps_per_epoch = self._writer.begin(
            epoch, self._steps_per_epoch, self.model
        )
        self._epoch_start = epoch * (self._steps_per_epoch or 0)
        self._accounted = 0
        self._due = self.spacing.next_due(self._position(epoch))
        self._begun = True
        if self.ema is not None:
            self._begin_average()
        if self._writer.lacks_present:
            self._record(epoch, {})

    def _begin_average(self) -> None:
        """Begins with the model's weights, or with the average recorded right here."""
        weights = self.model.weights
        last = self._writer.last
        if last is not None and last.step == self._step:
            values = self._writer.read_last()
            self._ema_updates = last.ema_updates
        else:
            values = [keras.ops.convert_to_numpy(v.value) for v in weights]
            self._ema_updates = 0
        floating = [
            (variable, _widened(value))
            for variable, value in zip(weights, values, strict=True)
            if _is_floating(variable)
        ]
        self._average = WeightAverage(
            [variable for variable, _ in floating], [value for _, value in floating]
        )

    def _account(self, batch: int) -> None:
        """Takes note that `batch` batches of the running epoch are done."""
        steps = batch - self._accounted
        self._accounted = batch
        if self._average is None or self.ema is None or steps <= 0:
            return
        self._bring_weights_back()
        s = self._ema_updates
        self._average.update(min(self.ema, (1 + s) / (10 + s)) ** steps)
        self._ema_updates += steps

    def _record(self, epoch: int, metrics: Mapping[str, Any]) -> None:
        self._bring_weights_back()
        averages = iter(self._average.numpy() if self._average is not None else [])
        self._writer.write(
            [
                next(averages)
                if self._average is not None and _is_floating(variable)
                else keras.ops.convert_to_numpy(variable.value)
                for variable in self.model.weights
            ],
            step=self._step,
            epoch=epoch,
            metrics=metrics,
            steps_per_epoch=self._steps_per_epoch,
            ema_updates=self._ema_updates,
        )
        self._due = self.spacing.next_due(self._position(epoch))

    def _position(self, epoch: int) -> int:
        """The present moment, in units of the spacing."""
        return epoch if self.spacing.unit == "epoch" else self._step

    def _bring_weights_back(self) -> None:
        """On JAX, where `fit` holds the state outside the variables."""
        # `Callback.model` does it when it is asked for.
        _ = self.model


def _is_floating(variable: keras.Variable) -> bool:
    return bool(keras.backend.is_float_dtype(variable.dtype))


def _widened(value: np.ndarray) -> np.ndarray:
    """In float32 at least: an average in float16 would stand still."""
    return value if value.dtype == np.float64 else value.astype(np.float32)
