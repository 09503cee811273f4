"""Schedules: which of a teacher's checkpoints supervises at which student step."""

import bisect
import itertools
import math
import operator
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any, NamedTuple

import keras

from keras_kd.teachers.stages import Stages
from keras_kd.written import as_written


class Progress(NamedTuple):
    """Where the student's training stands when a schedule is asked.

    Attributes:
        step: student batches completed since epoch 0, `t`.
        epoch: the running epoch, from 0.
        total_steps: student batches over which the schedule is spread, `S`: all of
            them, or the first `1 - hold` of them, a `Fraction` where that is no
            whole number.
    """

    step: int
    epoch: int
    total_steps: int | Fraction


class Schedule:
    """A function of the student's progress and the trajectory alone.

    Any callable `(progress, trajectory) -> index` will do as a schedule; this class
    adds that it can be written into a config.
    """

    def __call__(self, progress: Progress, trajectory: Stages[Any]) -> int:
        """The index of the checkpoint to use from this step on."""
        raise NotImplementedError

    def check(self, trajectory: Stages[Any]) -> None:
        """Refuses a trajectory that the schedule cannot serve, before training."""

    __repr__ = as_written

    def get_config(self) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Schedule":
        return cls(**config)


@keras.saving.register_keras_serializable(package="keras_kd")
class NearestLater(Schedule):
    """The checkpoint that lies nearest ahead of the student, the paper's rule.

    The smallest `t_i > t`, once the student's steps are scaled to the teacher's, and
    the last checkpoint once none is later. See `TeacherTrajectory.at_step`.

    Source: Harutyunyan et al., ICLR 2023, section 4 (online distillation).
    """

    def __call__(self, progress: Progress, trajectory: Stages[Any]) -> int:
        stage = trajectory.at_step(progress.step, progress.total_steps)
        return int(stage.index)


@keras.saving.register_keras_serializable(package="keras_kd")
class EqualEpochs(Schedule):
    """Every checkpoint gets an equal share of the student's epochs, to the step.

    Source: Jin et al., "Knowledge Distillation via Route Constrained Optimization",
    ICCV 2019.
    """

    def __call__(self, progress: Progress, trajectory: Stages[Any]) -> int:
        share = Fraction(progress.step * len(trajectory)) / progress.total_steps
        return min(math.floor(share), len(trajectory) - 1)


@keras.saving.register_keras_serializable(package="keras_kd")
class PhaseTransition(Schedule):
    r"""Two checkpoints: the one in the steepest drop of the loss, then the last.

    Each gets half of the student's training. The first is the checkpoint `i` with the
    largest $(L_i - L_{i+1}) / (t_{i+1} - t_i)$, the earliest of equals: a recorded loss
    is the mean over the epoch that ends with its checkpoint, so that what lies between
    the middles of two epochs is a checkpoint, the first of the two.

    The trajectory must hold the teacher's `loss`, as `TrajectoryRecorder` writes it.
    Checkpoints whose loss was not finite are left out. When training begins, and before
    anything has changed, a trajectory in which the loss never falls is refused with a
    ValueError.

    Source: Panigrahi, Liu, Malladi, Risteski & Goel, "Progressive distillation induces
    an implicit curriculum", ICLR 2025: one checkpoint of the phase transition and the
    last suffice.

    Example:

    ```python
    schedule = keras_kd.teachers.schedules.PhaseTransition()
    keras_kd.OnlineTeacher(trajectory, schedule)
    ```
    """

    def __call__(self, progress: Progress, trajectory: Stages[Any]) -> int:
        if 2 * progress.step < progress.total_steps:
            return self.transition(trajectory)
        return len(trajectory) - 1

    def check(self, trajectory: Stages[Any]) -> None:
        self.transition(trajectory)

    @staticmethod
    def transition(trajectory: Stages[Any]) -> int:
        """The index of the checkpoint in the steepest drop.

        Raises:
            ValueError: the recorded loss never falls, or there is none.
        """
        held = [
            (stage.index, stage.step, loss)
            for stage in trajectory
            if (loss := stage.metrics.get("loss")) is not None
        ]
        slopes = {
            i: (loss - later) / (step_later - step)
            for (i, step, loss), (_, step_later, later) in itertools.pairwise(held)
        }
        steepest = max(slopes, key=slopes.__getitem__, default=None)
        if steepest is None or slopes[steepest] <= 0:
            raise ValueError(
                "`PhaseTransition` must have a trajectory whose recorded `loss` falls "
                f"from one checkpoint to a later one. Received: {len(trajectory)} "
                f"checkpoints, with the losses {[loss for _, _, loss in held]}"
            )
        return int(steepest)


@keras.saving.register_keras_serializable(package="keras_kd")
class AtEpochs(Schedule):
    """Named checkpoints from named epochs on.

    Args:
        pairs: `(epoch, checkpoint)`, from epoch 0, epochs increasing; a negative
            checkpoint counts from the end of the trajectory.

    Raises:
        ValueError: `pairs` is something else.

    Example:

    ```python
    schedule = keras_kd.teachers.schedules.AtEpochs([(0, 0), (10, 4), (20, -1)])
    keras_kd.OnlineTeacher(trajectory, schedule)
    ```
    """

    def __init__(self, pairs: Iterable[tuple[int, int]]) -> None:
        pairs = list(pairs)
        try:
            self.pairs = [
                (operator.index(epoch), operator.index(checkpoint))
                for epoch, checkpoint in pairs
            ]
        except (TypeError, ValueError):
            raise ValueError(
                "`schedule` given as pairs must hold two integers, (epoch, "
                f"checkpoint), in each. Received: {pairs}"
            ) from None
        self._epochs = [epoch for epoch, _ in self.pairs]
        if not self.pairs or self._epochs[0] != 0:
            raise ValueError(
                "`schedule` given as pairs must begin with epoch 0, or the first "
                f"epochs have no teacher. Received: {pairs}"
            )
        if self._epochs != sorted(set(self._epochs)):
            raise ValueError(
                "`schedule` given as pairs must have increasing epochs. "
                f"Received: {pairs}"
            )

    def __call__(self, progress: Progress, trajectory: Stages[Any]) -> int:
        _, checkpoint = self.pairs[bisect.bisect(self._epochs, progress.epoch) - 1]
        return int(trajectory[checkpoint].index)

    def check(self, trajectory: Stages[Any]) -> None:
        for _, checkpoint in self.pairs:
            _resolve(checkpoint, trajectory, "`schedule` given as pairs must name")

    def get_config(self) -> dict[str, Any]:
        return {"pairs": self.pairs}


def as_schedule(schedule: Any) -> Callable[[Progress, Stages[Any]], int]:
    """The schedule that an argument means: pairs, a callable, or `None`.

    Raises:
        TypeError: it is none of these.
    """
    if schedule is None:
        return NearestLater()
    if isinstance(schedule, type):
        raise TypeError(
            "`schedule` must be a schedule, not its class. Received: "
            f"schedule={schedule.__name__}; write {schedule.__name__}()."
        )
    if callable(schedule):
        chosen: Callable[[Progress, Stages[Any]], int] = schedule
        return chosen
    if isinstance(schedule, list | tuple):
        return AtEpochs(schedule)
    raise TypeError(
        "`schedule` must be None, a schedule of `keras_kd.teachers.schedules`, a list "
        "of (epoch, checkpoint) pairs, or a callable `(progress, trajectory) -> "
        f"index`. Received: schedule={schedule!r}"
    )


def as_hold(hold: float | str | Fraction) -> Fraction:
    """The share of training for the last checkpoint, as an exact fraction.

    Args:
        hold: in [0, 1). A float means the nearest fraction with a denominator of at
            most a million: `1/3` is a third.

    Raises:
        ValueError: it is out of range, or no number.
    """
    try:
        fraction = Fraction(hold).limit_denominator(1_000_000)
    except (TypeError, ValueError, OverflowError):
        fraction = Fraction(-1)
    if not 0 <= fraction < 1:
        raise ValueError(f"`hold` must be in [0, 1). Received: hold={hold}")
    return fraction


def checkpoint_index(
    schedule: Callable[[Progress, Stages[Any]], int],
    step: int,
    epoch: int,
    total_steps: int,
    trajectory: Stages[Any],
    hold: Fraction = Fraction(0),
) -> int:
    """The checkpoint to use at a step: the schedule, then the last one for `hold`.

    Args:
        schedule: as from `as_schedule`.
        step: student batches completed since epoch 0.
        epoch: the running epoch, from 0.
        total_steps: the student's batches in all.
        trajectory: whose checkpoints they are.
        hold: share of the student's training, at its end, that belongs to the last
            checkpoint; the schedule is spread over the rest.

    Returns:
        An index in `[0, len(trajectory))`.

    Raises:
        ValueError: the schedule named a checkpoint that does not exist.
    """
    horizon = (1 - hold) * total_steps
    if step >= horizon and hold:
        return len(trajectory) - 1
    index = schedule(Progress(step, epoch, horizon), trajectory)
    return _resolve(index, trajectory, f"At step {step} `schedule` must return")


def _resolve(index: Any, trajectory: Stages[Any], must: str) -> int:
    n = len(trajectory)
    try:
        if isinstance(index, bool):
            raise TypeError
        position = operator.index(index)
    except TypeError:
        position = n
    if not -n <= position < n:
        raise ValueError(
            f"{must} the index of a checkpoint, an integer in [{-n}, {n}). "
            f"Received: {index!r}"
        )
    return position % n
