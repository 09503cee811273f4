"""The clock, against the formulas in exact fractions."""

from fractions import Fraction
from pathlib import Path
from unittest import mock

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_kd.teachers.schedules import (
    AtEpochs,
    EqualEpochs,
    NearestLater,
    PhaseTransition,
    Progress,
    as_hold,
    as_schedule,
    checkpoint_index,
)
from keras_kd.teachers.trajectory.manifest import Checkpoint, Manifest
from keras_kd.teachers.trajectory.reader import TeacherTrajectory


def trajectory_at(steps, total_steps=None, losses=()):
    """A trajectory with checkpoints at `steps`; the clock reads no weights."""
    metrics = [{"loss": loss} for loss in losses] or [{}] * len(steps)
    manifest = Manifest(
        folder=Path("nowhere"),
        model={},
        variables=(),
        steps_per_epoch=None,
        total_steps=steps[-1] if total_steps is None else total_steps,
        ema=None,
        checkpoints=tuple(
            Checkpoint(i, step, 0, metrics[i], Path(f"{step}"), 0, "", None, 0)
            for i, step in enumerate(steps)
        ),
    )
    with mock.patch.object(Manifest, "read", return_value=manifest):
        return TeacherTrajectory("nowhere")


steps_lists = st.sets(st.integers(1, 10**7), min_size=1, max_size=12).map(sorted)
holds = st.sampled_from([Fraction(0), Fraction(1, 3), Fraction(1, 2), Fraction(7, 9)])


def nearest_later(steps, total, t, student_total):
    """The paper's rule, word for word."""
    later = [i for i, ti in enumerate(steps) if ti * student_total > t * total]
    return later[0] if later else len(steps) - 1


@settings(deadline=None, max_examples=200)
@given(steps_lists, st.integers(1, 10**7), st.integers(0, 9), st.data())
def test_nearest_later_is_the_papers_rule(steps, student_total, multiple, data):
    trajectory = trajectory_at(steps)
    # Ties, where an error of one step or of rounding would show, must not be rare.
    student_total = multiple * steps[-1] or student_total
    ties = [ti * student_total // steps[-1] for ti in steps]
    t = data.draw(st.integers(0, student_total) | st.sampled_from(ties))
    expected = nearest_later(steps, steps[-1], t, student_total)
    assert trajectory.at_step(t, student_total).index == expected
    assert NearestLater()(Progress(t, 0, student_total), trajectory) == expected


@settings(deadline=None, max_examples=100)
@given(steps_lists, st.integers(1, 300), holds)
def test_nearest_later_over_a_whole_training(steps, student_total, hold):
    trajectory = trajectory_at(steps)
    horizon = (1 - hold) * student_total
    used = [
        checkpoint_index(NearestLater(), t, 0, student_total, trajectory, hold)
        for t in range(student_total + 1)
    ]
    assert used == sorted(used)
    assert used[-1] == len(steps) - 1
    for t, index in enumerate(used):
        scaled = Fraction(t) * steps[-1] / horizon
        if steps[index] <= scaled:
            assert index == len(steps) - 1  # none is later
        if index > 0:
            assert steps[index - 1] <= scaled  # never early
        if t >= horizon:
            assert index == len(steps) - 1


@pytest.mark.parametrize("student_total", [6, 7, 300, 3 * 10**15])
def test_hold_of_a_third_gives_exactly_the_last_third(student_total):
    trajectory = trajectory_at([1, 2, 3, 4, 5, 6])
    hold = as_hold(1 / 3)
    ends = {}
    for t in {0, student_total // 3, 2 * student_total // 3 - 1, student_total}:
        ends[t] = checkpoint_index(
            NearestLater(), t, 0, student_total, trajectory, hold
        )
        horizon = Fraction(2, 3) * student_total
        assert ends[t] == nearest_later([1, 2, 3, 4, 5, 6], 6, t, horizon)
    # A third of the way, half the teacher's steps are over: 4 is the next.
    if student_total % 3 == 0:
        assert ends[student_total // 3] == 3


def test_at_step_counts_in_teacher_steps_by_default():
    trajectory = trajectory_at([10, 20, 40])
    indices = [trajectory.at_step(t).index for t in (0, 9, 10, 19, 20, 39, 40, 99)]
    assert indices == [0, 0, 1, 1, 2, 2, 2, 2]


def test_a_teacher_that_went_on_after_its_last_checkpoint():
    trajectory = trajectory_at([10, 20], total_steps=40)
    assert [trajectory.at_step(t, 4).index for t in range(5)] == [0, 1, 1, 1, 1]


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 12), st.integers(1, 40), st.integers(1, 5))
def test_equal_epochs_gives_equal_shares(checkpoints, epochs_each, steps_per_epoch):
    trajectory = trajectory_at([7**i for i in range(checkpoints)])
    total = checkpoints * epochs_each * steps_per_epoch
    used = [EqualEpochs()(Progress(t, 0, total), trajectory) for t in range(total)]
    share = epochs_each * steps_per_epoch
    assert used == [i for i in range(checkpoints) for _ in range(share)]


def test_equal_epochs_with_hold_and_a_remainder():
    trajectory = trajectory_at([1, 2, 3])
    used = [
        checkpoint_index(EqualEpochs(), t, 0, 10, trajectory, Fraction(1, 2))
        for t in range(12)
    ]
    assert used == [0, 0, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2]


@pytest.mark.parametrize("middle", [30, 50, 80])
def test_the_phase_transition_of_a_logistic_loss(middle):
    """Its steepest moment is known; a recorded loss is the mean over an epoch."""

    def integral(t):  # of 1 / (1 + exp((t - middle) / 6))
        return -6 * np.logaddexp(0, -(t - middle) / 6)

    steps = range(10, 110, 10)
    losses = [(integral(t) - integral(t - 10)) / 10 for t in steps]
    trajectory = trajectory_at(list(steps), losses=losses)
    assert trajectory[PhaseTransition.transition(trajectory)].step == middle


@settings(deadline=None, max_examples=100)
@given(
    steps_lists.filter(lambda steps: len(steps) > 1),
    st.randoms(use_true_random=False),
)
def test_the_steepest_drop_among_uneven_checkpoints(steps, random):
    losses = np.array([random.random() for _ in steps]) - 2 * np.arange(len(steps))
    slopes = -np.diff(losses) / np.diff(steps)
    found = PhaseTransition.transition(trajectory_at(steps, losses=losses.tolist()))
    assert slopes[found] == pytest.approx(slopes.max(), rel=1e-9)


def test_phase_transition_takes_the_halves():
    steps, losses = [1, 2, 3, 4], [3.0, 2.9, 1.0, 0.9]
    trajectory = trajectory_at(steps, losses=losses)

    def used(total, hold=Fraction(0)):
        return [
            checkpoint_index(PhaseTransition(), t, 0, total, trajectory, hold)
            for t in range(total)
        ]

    assert used(6) == [1, 1, 1, 3, 3, 3]
    assert used(5) == [1, 1, 1, 3, 3]
    # Of the five that are not held.
    assert used(10, Fraction(1, 2)) == [1] * 3 + [3] * 7


def test_phase_transition_without_some_losses():
    def transition(*losses):
        steps = [10 * (i + 1) for i in range(len(losses))]
        return PhaseTransition.transition(trajectory_at(steps, losses=losses))

    # From the first to the third it falls by 0.2 a step, and then by 0.1.
    assert transition(9.0, None, 5.0, 4.0) == 0
    assert transition(5.0, None, 4.0, 3.0) == 2
    assert transition(3.0, 2.0, 1.0) == 0
    assert transition(1.0, 9.0, 8.0, 9.0) == 1


@pytest.mark.wrong_input
@pytest.mark.parametrize("losses", [(), (1.0, None), (1.0, 1.0), (1.0, 2.0)])
def test_no_phase_transition(losses):
    trajectory = trajectory_at([1, 2], losses=losses)
    with pytest.raises(ValueError, match=r"recorded `loss` falls.* Received: 2 checkp"):
        PhaseTransition().check(trajectory)


def test_pairs():
    trajectory = trajectory_at([1, 2, 3])
    schedule = as_schedule([(0, 1), (2, 0), (5, -1)])
    used = [schedule(Progress(0, e, 1), trajectory) for e in range(7)]
    assert used == [1, 1, 0, 0, 0, 2, 2]


def test_a_callable_receives_progress_and_trajectory():
    trajectory = trajectory_at([1, 2, 3])
    seen = []

    def schedule(progress, given):
        seen.append((progress, given))
        return -1

    assert checkpoint_index(schedule, 4, 2, 9, trajectory, Fraction(1, 3)) == 2
    assert seen == [(Progress(step=4, epoch=2, total_steps=6), trajectory)]
    # What is held is not asked for.
    assert checkpoint_index(schedule, 6, 2, 9, trajectory, Fraction(1, 3)) == 2
    assert len(seen) == 1


@pytest.mark.wrong_input
@pytest.mark.parametrize("returned", [3, -4, 1.0, None, True, "0"])
def test_a_callable_that_returns_no_index(returned):
    with pytest.raises(ValueError, match=r"At step 5 `schedule` must return .* \[-3, "):
        checkpoint_index(lambda p, t: returned, 5, 0, 9, trajectory_at([1, 2, 3]))


@pytest.mark.parametrize(
    ("hold", "expected"),
    [(0, 0), (0.0, 0), (1 / 3, Fraction(1, 3)), (0.1, Fraction(1, 10)), (0.999, None)],
)
def test_hold_is_exact(hold, expected):
    assert as_hold(hold) == (Fraction(999, 1000) if expected is None else expected)


@pytest.mark.wrong_input
@pytest.mark.parametrize("hold", [1, 1.0, -0.1, 2, float("nan"), float("inf"), None])
def test_hold_out_of_range(hold):
    with pytest.raises(ValueError, match=r"`hold` must be in \[0, 1\). Received: hold"):
        as_hold(hold)


@pytest.mark.wrong_input
@pytest.mark.parametrize(
    "pairs",
    [[], [(1, 0)], [(0, 0), (0, 1)], [(0, 0), (5, 1), (3, 2)], [(0, 0.5)], [0, 1]],
)
def test_wrong_pairs(pairs):
    with pytest.raises(ValueError, match="`schedule` given as pairs must"):
        as_schedule(pairs)


@pytest.mark.wrong_input
@pytest.mark.parametrize("schedule", ["nearest", 3, EqualEpochs, {0: 1}])
def test_a_schedule_of_a_wrong_type(schedule):
    with pytest.raises(TypeError, match="`schedule` must be"):
        as_schedule(schedule)


@pytest.mark.parametrize(
    "schedule",
    [NearestLater(), EqualEpochs(), PhaseTransition(), AtEpochs([(0, 0), (2, -1)])],
)
def test_schedules_serialise(schedule):
    config = keras.saving.serialize_keras_object(schedule)
    again = keras.saving.deserialize_keras_object(config)
    assert type(again) is type(schedule)
    assert again.get_config() == schedule.get_config()


@pytest.mark.wrong_input
def test_at_step_out_of_range():
    trajectory = trajectory_at([1])
    with pytest.raises(ValueError, match=r"`step` must be >= 0. Received: step=-1"):
        trajectory.at_step(-1)
    with pytest.raises(ValueError, match="`total_steps` must be > 0"):
        trajectory.at_step(0, 0)
