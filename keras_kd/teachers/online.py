"""OnlineTeacher: supervision that follows the teacher's own training."""

import math
from fractions import Fraction
from typing import Any

import keras

from keras_kd.arguments import check_integer_or_none
from keras_kd.keras_internals import flatten_layers
from keras_kd.teachers.cache import SupervisionCache
from keras_kd.teachers.live import LiveTeacher
from keras_kd.teachers.schedules import Schedule, as_hold, as_schedule, checkpoint_index
from keras_kd.teachers.trajectory import TeacherTrajectory


class OnlineTeacher(keras.callbacks.Callback):
    r"""Feeds a student progressively later stages of its teacher's training.

    A callback for `Distiller.fit`. Before each batch it asks the schedule which
    checkpoint supervises, and where that changes, loads it into `distiller.teacher`.

    The clock: `t` is the number of student batches completed since epoch 0,
    `epoch * steps_per_epoch + batch`. By the default schedule the student learns from
    the nearest later checkpoint, $\min\{t_i : t_i S > t T\}$, with `S` and `T` the
    batches of the student's and the teacher's training in all, and from the last one
    once none is later. So it is right with `initial_epoch` and after
    `keras.callbacks.BackupAndRestore` as well.

    With `steps_per_execution=N` a checkpoint can change before an execution only:
    never early, at most `N - 1` steps late.

    The checkpoint in use when an epoch ends is in the epoch logs, as
    `teacher_checkpoint` (its index) and `teacher_step` (`t_i`). When `fit` has ended
    the teacher holds the last checkpoint used.

    Args:
        trajectory: `keras_kd.TeacherTrajectory`, of a model like the teacher; or, where
            the distiller has a `keras_kd.SupervisionCache` of a trajectory, that cache
            or that trajectory.
        schedule: `None` for `keras_kd.teachers.schedules.NearestLater()`; another
            schedule of that module, as `EqualEpochs()`; a list of `(epoch,
            checkpoint)` pairs; or a callable `(progress, trajectory) -> index`, where
            `progress` has `step`, `epoch` and `total_steps`.
        hold: in [0, 1): the share of the student's training, at its end, that belongs
            to the last checkpoint. The schedule is spread over the rest.
        total_steps: the student's batches in all, `S`. `None` for
            `epochs * steps_per_epoch`, which needs a data set of known length. Where
            the length is not known, an epoch counts `total_steps / epochs` batches.

    Raises:
        ValueError: an argument is out of range, or the trajectory has lost
            checkpoints (`TrajectoryRecorder` says when that happens). When training
            begins, and before anything has changed: the length of the data set is not
            known, the trajectory does not fit the teacher, or a file of it is missing,
            truncated, or not finite.
        TypeError: `trajectory` or `schedule` is something else.

    Example:

    ```python
    trajectory = keras_kd.TeacherTrajectory("teacher")
    distiller.fit(x, y, epochs=30, callbacks=[keras_kd.OnlineTeacher(trajectory)])
    ```

    Source: Harutyunyan et al., "Supervision Complexity and its Role in Knowledge
    Distillation", ICLR 2023, section 4.
    """

    # `Distiller.fit` runs it before callbacks that read the epoch logs.
    writes_epoch_logs = True

    def __init__(
        self,
        trajectory: TeacherTrajectory | SupervisionCache,
        schedule: Any = None,
        hold: float = 0.0,
        total_steps: int | None = None,
    ):
        super().__init__()
        if not isinstance(trajectory, TeacherTrajectory | SupervisionCache):
            raise TypeError(
                "`trajectory` must be a `keras_kd.TeacherTrajectory`, or a "
                "`keras_kd.SupervisionCache` of one. "
                f"Received: trajectory={trajectory!r}"
            )
        if isinstance(trajectory, TeacherTrajectory):
            trajectory.check_complete()
        self.trajectory: Any = trajectory
        self.schedule = as_schedule(schedule)
        self.hold = as_hold(hold)
        self.total_steps = check_integer_or_none("total_steps", total_steps, above=0)
        self.checkpoint: int | None = None
        """Index of the checkpoint in use, `None` before the first epoch."""
        self._supervisor: Any = None
        self._steps_per_epoch: int | Fraction = 0
        self._student_steps: int = 0
        self._batches_per_epoch: int | None = None
        self._steps_per_execution = 1
        self.epoch = 0
        """The running epoch."""

    def __repr__(self) -> str:
        return f"OnlineTeacher({self.trajectory!r}, {self.schedule!r})"

    def on_train_begin(self, logs: Any = None) -> None:
        epochs, steps_per_epoch = self.params["epochs"], self.params["steps"]
        if self.total_steps is None and steps_per_epoch is None:
            raise ValueError(
                "OnlineTeacher must know how long the student trains. Received: a "
                "data set of unknown length and total_steps=None. Pass "
                "`OnlineTeacher(..., total_steps=...)`, all batches of all epochs, or "
                "`fit(..., steps_per_epoch=...)`."
            )
        model = self.model
        teacher = getattr(model, "teacher", None)
        if teacher is None:
            raise ValueError(
                "OnlineTeacher works with `keras_kd.Distiller`, whose teacher it "
                f"changes. Received: model '{model.name}' without a teacher."
            )
        if any(layer is teacher for layer in flatten_layers(model)):
            raise ValueError(
                "OnlineTeacher needs a teacher that is not trained with the model, as "
                "in `keras_kd.Distiller(..., train_teacher=False)`. Received: model "
                f"'{model.name}', which tracks its teacher as a layer."
            )
        # Any other model that holds a teacher will do, too.
        supervisor = getattr(model, "supervisor", None)
        if supervisor is None:
            supervisor = LiveTeacher(teacher, "logits", {})
        supervisor.follow(self)
        if isinstance(self.schedule, Schedule):
            self.schedule.check(self.trajectory)
        # Kept, because asking `self.model` for it would, on JAX, bring the whole state
        # back from `fit` at every batch.
        self._supervisor = supervisor
        self._student_steps = self.total_steps or epochs * steps_per_epoch
        self._steps_per_epoch = steps_per_epoch or Fraction(self._student_steps, epochs)
        self._batches_per_epoch = steps_per_epoch
        self._steps_per_execution = getattr(model, "steps_per_execution", 1)
        # Other callbacks may load other weights before the first epoch.
        self.checkpoint = None

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch = epoch
        self._use(self.checkpoint_at(epoch, 0))

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self._use(self.checkpoint_at(self.epoch, batch))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if logs is not None and self.checkpoint is not None:
            logs["teacher_checkpoint"] = self.checkpoint
            logs["teacher_step"] = self.trajectory[self.checkpoint].step

    def checkpoint_at(self, epoch: int, batch: int) -> int:
        """The checkpoint that supervises a batch, by its index.

        Args:
            epoch: from 0.
            batch: counted from the beginning of `epoch`; it may lie in a later one.
        """
        if self._batches_per_epoch:
            later, batch = divmod(batch, self._batches_per_epoch)
            epoch += later
        # Those that run in one execution have one teacher.
        batch -= batch % self._steps_per_execution
        return checkpoint_index(
            self.schedule,
            math.floor(epoch * self._steps_per_epoch) + batch,
            epoch,
            self._student_steps,
            self.trajectory,
            self.hold,
        )

    def _use(self, index: int) -> None:
        if index != self.checkpoint:
            self._supervisor.use(index)
            self.checkpoint = index
