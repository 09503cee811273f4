"""Which teacher is in place at which batch, in real `fit`s.

The student stands for `keras_kd.Distiller`: a model with an untracked `teacher`.
"""

import csv
from fractions import Fraction

import keras
import numpy as np
import pytest
from tiny_teachers import Crash, make_data, make_teacher, train_by_hand

from keras_kd.teachers import OnlineTeacher, TeacherTrajectory, TrajectoryRecorder
from keras_kd.teachers.schedules import EqualEpochs, PhaseTransition

BACKEND = keras.backend.backend()


def make_student(teacher=None, **kwargs):
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer="sgd", loss=loss, **kwargs)
    object.__setattr__(model, "teacher", teacher or make_teacher())
    return model


class Watch(keras.callbacks.Callback):
    """Notes at every batch which checkpoint's weights the teacher has."""

    def __init__(self, teacher, trajectory):
        super().__init__()
        self.teacher = teacher
        self.known = []
        for checkpoint in trajectory:
            model = make_teacher()
            model.load_weights(checkpoint.file)
            self.known.append(model.get_weights()[0])
        self.seen = []

    def now(self):
        kernel = self.teacher.get_weights()[0]
        (index,) = (i for i, k in enumerate(self.known) if np.array_equal(k, kernel))
        return index

    def on_train_batch_begin(self, batch, logs=None):
        self.seen.append(self.now())


def fit(online, trajectory, *callbacks, batches=4, model=None, x=None, **kwargs):
    """Fits a student; returns it and the checkpoint in place at every batch."""
    model = model or make_student()
    watch = Watch(model.teacher, trajectory)
    data = dict(zip("xy", make_data(batches), strict=True)) if x is None else {"x": x}
    kwargs = {"epochs": 3, "batch_size": 4 if x is None else None, **kwargs}
    history = model.fit(
        **data, callbacks=[online, *callbacks, watch], verbose=0, **kwargs
    )
    return watch, history


def by_hand(online, trajectory, steps=4):
    """The same without training anything: three epochs."""
    model = make_student()
    watch = Watch(model.teacher, trajectory)
    train_by_hand(model, online, watch, epochs=3, steps=steps)
    return watch.seen


def expected(trajectory, student_total, steps=None, hold=Fraction(0)):
    """The paper's rule, word for word."""
    horizon = (1 - hold) * student_total
    used = []
    for t in steps if steps is not None else range(student_total):
        later = [
            c.index for c in trajectory if c.step * horizon > t * trajectory[-1].step
        ]
        used.append(later[0] if later else len(trajectory) - 1)
    return used


@pytest.mark.parametrize("batches", [4, 5, 7])
def test_the_nearest_later_checkpoint_at_every_batch(trajectory, batches):
    watch, history = fit(OnlineTeacher(trajectory), trajectory, batches=batches)
    assert watch.seen == expected(trajectory, 3 * batches)
    assert watch.now() == watch.seen[-1]  # what it holds afterwards
    ends = [watch.seen[batches * (e + 1) - 1] for e in range(3)]
    assert history.history["teacher_checkpoint"] == ends
    assert history.history["teacher_step"] == [trajectory[i].step for i in ends]


def test_a_student_as_long_as_the_teacher_is_always_behind_it(trajectory):
    watch, _ = fit(OnlineTeacher(trajectory), trajectory, epochs=5, batches=3)
    # Teacher checkpoints after 3, 6, 9, 12 and 15 batches.
    assert watch.seen == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]


def test_other_schedules(trajectory):
    hold = Fraction(1, 3)
    losses = [checkpoint.metrics["loss"] for checkpoint in trajectory]
    steepest = int(np.argmin(np.diff(losses)))
    for online, used in (
        (
            OnlineTeacher(trajectory, hold=1 / 3),
            expected(trajectory, 12, hold=hold),
        ),
        (
            OnlineTeacher(trajectory, EqualEpochs()),
            [0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 4, 4],
        ),
        (
            OnlineTeacher(trajectory, PhaseTransition()),
            [steepest] * 6 + [4] * 6,
        ),
        (
            OnlineTeacher(trajectory, [(0, 3), (2, -1)]),
            [3] * 8 + [4] * 4,
        ),
        (
            OnlineTeacher(trajectory, [(0, 3), (2, 0)], hold=0.25),
            [3] * 8 + [0] + [4] * 3,
        ),
        (
            OnlineTeacher(trajectory, lambda progress, t: progress.step % len(t)),
            [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1],
        ),
        (
            OnlineTeacher(trajectory, total_steps=24),
            expected(trajectory, 24)[:12],
        ),
        (
            OnlineTeacher(trajectory, total_steps=5),
            expected(trajectory, 5) + [4] * 7,
        ),
    ):
        assert by_hand(online, trajectory) == used


def test_initial_epoch(trajectory):
    online, model = OnlineTeacher(trajectory), make_student()
    first, _ = fit(online, trajectory, model=model, epochs=2)
    rest, _ = fit(online, trajectory, model=model, epochs=6, initial_epoch=2)
    assert first.seen == expected(trajectory, 8)
    assert rest.seen == expected(trajectory, 24)[8:]


def test_after_backup_and_restore(trajectory, tmp_path):
    def backup():
        return keras.callbacks.BackupAndRestore(tmp_path / "backup")

    with pytest.raises(KeyboardInterrupt):
        fit(OnlineTeacher(trajectory), trajectory, backup(), Crash(2), epochs=5)
    # A new process: a new teacher, at whatever weights.
    watch, history = fit(OnlineTeacher(trajectory), trajectory, backup(), epochs=5)
    seen = expected(trajectory, 20)
    assert watch.seen == seen[8:]
    assert history.history["teacher_checkpoint"] == seen[11::4]


def test_weights_that_another_callback_loads_when_training_begins(trajectory):
    class Loads(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            trajectory.load(3, self.model.teacher)

    online, model = OnlineTeacher(trajectory, [(0, 2)]), make_student()
    for _ in range(2):  # the second time, the callback knows of checkpoint 2
        watch, _ = fit(online, trajectory, Loads(), model=model, epochs=1)
        assert watch.seen == [2] * 4


@pytest.mark.skipif(BACKEND == "torch", reason="Keras: no steps_per_execution there")
def test_steps_per_execution_is_never_early_and_at_most_so_late(trajectory):
    model = make_student(steps_per_execution=3)
    watch, _ = fit(OnlineTeacher(trajectory), trajectory, model=model, batches=7)
    firsts = [0, 3, 6, 7, 10, 13, 14, 17, 20]
    assert watch.seen == expected(trajectory, 21, firsts)


class Unsized(keras.utils.PyDataset):
    """Batches without end, for `steps_per_epoch`, or a single epoch of them."""

    def __init__(self, batches):
        super().__init__()
        self.batches = batches
        self.x, self.y = make_data(batches)

    @property
    def num_batches(self):
        return None

    def __getitem__(self, i):
        i %= self.batches
        return self.x[4 * i : 4 * i + 4], self.y[4 * i : 4 * i + 4]


def one_epoch(batches):
    data = Unsized(batches)
    return (data[i] for i in range(batches))


@pytest.mark.wrong_input
def test_a_data_set_of_unknown_length(trajectory):
    model = make_student()
    before = model.teacher.get_weights()[0]
    with pytest.raises(ValueError, match=r"unknown length.*Pass `.*total_steps=\.\.\."):
        fit(OnlineTeacher(trajectory), trajectory, model=model, x=one_epoch(7))
    assert np.array_equal(before, model.teacher.get_weights()[0])

    online = OnlineTeacher(trajectory, total_steps=7)
    watch, _ = fit(online, trajectory, x=one_epoch(7), epochs=1)
    # TensorFlow and JAX announce a batch before they find that there is none.
    assert watch.seen[:7] == expected(trajectory, 7)

    online = OnlineTeacher(trajectory)
    watch, _ = fit(online, trajectory, x=Unsized(4), steps_per_epoch=4)
    assert watch.seen == expected(trajectory, 12)


def test_unknown_length_later_epochs(trajectory):
    """By hand: `total_steps / epochs` batches in each, also from a later one on."""
    online = OnlineTeacher(trajectory, total_steps=12)
    model = make_student()
    watch = Watch(model.teacher, trajectory)
    callbacks = keras.callbacks.CallbackList(
        [online, watch], model=model, epochs=3, steps=None
    )
    callbacks.on_train_begin()
    for epoch in (1, 2):
        callbacks.on_epoch_begin(epoch)
        for batch in range(4):
            callbacks.on_train_batch_begin(batch)
    assert watch.seen == expected(trajectory, 12)[4:]


def test_the_log_reaches_a_csv_logger_that_comes_later(trajectory, tmp_path):
    logger = keras.callbacks.CSVLogger(tmp_path / "log.csv")
    _, history = fit(OnlineTeacher(trajectory), trajectory, logger)
    with open(tmp_path / "log.csv") as file:
        rows = list(csv.DictReader(file))
    for name in ("teacher_checkpoint", "teacher_step"):
        assert [int(row[name]) for row in rows] == history.history[name]
    # By this `Distiller.fit` knows to run it first.
    assert OnlineTeacher.writes_epoch_logs is True


def test_the_cost_of_a_batch(trajectory, monkeypatch):
    """No asynchronous dispatch turned off, and no `self.model` at every batch."""
    asked = []
    ask = keras.callbacks.Callback.model.fget

    def model(self):
        if isinstance(self, OnlineTeacher):
            asked.append(self)
        return ask(self)

    monkeypatch.setattr(keras.callbacks.Callback, "model", property(model))
    counts = []
    for batches in (2, 6):
        asked.clear()
        by_hand(OnlineTeacher(trajectory), trajectory, batches)
        counts.append(len(asked))
    assert counts[0] == counts[1]
    for name in ("on_train_batch_end", "on_batch_end"):
        method = getattr(OnlineTeacher, name)
        assert method is getattr(keras.callbacks.Callback, name)


def test_files_are_read_only_where_the_checkpoint_changes(trajectory, monkeypatch):
    loads = []
    load = TeacherTrajectory.load

    def counted(self, index, model=None):
        loads.append(index)
        return load(self, index, model)

    monkeypatch.setattr(TeacherTrajectory, "load", counted)
    by_hand(OnlineTeacher(trajectory), trajectory, steps=10)
    assert loads == [0, 1, 2, 3, 4]


# What is refused, and when.


def refused(message, trajectory, model=None, schedule=None, error=ValueError):
    model = model or make_student()
    teacher = model.teacher
    before = teacher.get_weights() if teacher else None
    weights = model.get_weights()
    with pytest.raises(error, match=message):
        fit_plain(model, OnlineTeacher(trajectory, schedule))
    if teacher:
        assert all(map(np.array_equal, before, teacher.get_weights()))
    assert all(map(np.array_equal, weights, model.get_weights()))


def fit_plain(model, online):
    x, y = make_data(2)
    model.fit(x, y, batch_size=4, verbose=0, callbacks=[online])


@pytest.mark.wrong_input
def test_a_model_without_a_teacher(trajectory):
    model = make_student()
    object.__setattr__(model, "teacher", None)
    refused(r"works with `keras_kd\.Distiller`.*without", trajectory, model)
    object.__delattr__(model, "teacher")
    with pytest.raises(ValueError, match=r"works with `keras_kd\.Distiller`"):
        fit_plain(model, OnlineTeacher(trajectory))


@pytest.mark.wrong_input
def test_a_teacher_that_is_trained_with_the_model(trajectory):
    distiller = keras.distillation.Distiller(
        make_teacher(), make_student(), keras.distillation.LogitsDistillation()
    )
    distiller.compile("sgd", "sparse_categorical_crossentropy")
    refused("tracks its teacher as a layer", trajectory, distiller)


@pytest.mark.wrong_input
def test_a_teacher_that_does_not_fit(trajectory):
    model = make_student(make_teacher(units=9))
    refused(r"same architecture.*shape \(5, 9\)", trajectory, model)


@pytest.mark.damage
def test_a_file_that_is_missing_or_truncated(trajectory):
    content = trajectory[3].file.read_bytes()
    trajectory[3].file.write_bytes(content[:-1])
    refused("Checkpoint 3 .*was truncated", trajectory)
    trajectory[3].file.unlink()
    refused("Checkpoint 3 .*is missing", trajectory, error=FileNotFoundError)


@pytest.mark.wrong_input
def test_a_checkpoint_that_is_not_finite(tmp_path):
    model = make_teacher()
    train_by_hand(model, TrajectoryRecorder(tmp_path), epochs=1)
    model.get_layer("hidden").kernel.assign(np.full((5, 4), np.nan))
    train_by_hand(model, TrajectoryRecorder(tmp_path), epochs=2, initial_epoch=1)
    refused("Checkpoint 1 .*NaN or infinite values in", TeacherTrajectory(tmp_path))


@pytest.mark.wrong_input
def test_pairs_beyond_the_trajectory(trajectory):
    refused(
        r"must name the index of a checkpoint, an integer in \[-5, 5\). Received: 5",
        trajectory,
        schedule=[(0, 0), (7, 5)],
    )


@pytest.mark.wrong_input
def test_a_callable_that_returns_no_index(trajectory):
    refused("At step 0 `schedule` must return", trajectory, schedule=lambda p, t: 5)


@pytest.mark.wrong_input
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"schedule": "rco"}, TypeError, "`schedule` must be None, a schedule of"),
        ({"hold": 1.0}, ValueError, r"`hold` must be in \[0, 1\). Received: hold=1.0"),
        ({"hold": "x"}, ValueError, r"`hold` must be in \[0, 1\). Received: hold=x"),
        ({"total_steps": 0}, ValueError, "an integer > 0. Received: total_steps=0"),
        ({"total_steps": -5}, ValueError, "Received: total_steps=-5"),
        ({"total_steps": 1.5}, ValueError, "Received: total_steps=1.5"),
    ],
)
def test_wrong_arguments(trajectory, arguments, error, message):
    with pytest.raises(error, match=message):
        OnlineTeacher(trajectory, **arguments)


@pytest.mark.wrong_input
def test_a_trajectory_of_a_wrong_type(trajectory):
    with pytest.raises(
        TypeError, match=r"must be a `keras_kd.TeacherTrajectory`, or a `keras_kd"
    ):
        OnlineTeacher(trajectory.folder)
