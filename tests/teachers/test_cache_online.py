"""`OnlineTeacher` on a cache: of each batch the checkpoint that a live teacher has."""

import gc
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_caches import BACKEND, BATCH, Fitted, assert_equal_weights, build, moved
from tiny_teachers import make_teacher, train_by_hand

from keras_kd import Distiller, OnlineTeacher, TeacherTrajectory, TrajectoryRecorder
from keras_kd.losses import SoftTargets
from keras_kd.teachers.schedules import EqualEpochs

CLASSES = 3
EPOCHS = 3


N = 44
ALL = np.random.default_rng(0).normal(size=(N + 20, 5)).astype("float32")
X, UNSEEN = ALL[:N], ALL[N:]  # for training, for validation
STEPS = -(-N // BATCH)


@pytest.fixture(scope="module")
def recorded_trajectory(tmp_path_factory):
    """Six checkpoints, which the student changes every third of its batches."""
    folder = tmp_path_factory.mktemp("teacher")
    train_by_hand(make_teacher(), TrajectoryRecorder(folder, 2, "step"), epochs=4)
    trajectory = TeacherTrajectory(folder)
    assert [c.step for c in trajectory] == [2, 4, 6, 8, 10, 12]
    return trajectory


@pytest.fixture(scope="module")
def cache(recorded_trajectory, tmp_path_factory):
    return build(recorded_trajectory, ALL, tmp_path_factory.mktemp("cache"))


class Watch(keras.callbacks.Callback):
    """The checkpoint in use at each batch, by the live teacher's own weights."""

    def __init__(self, trajectory):
        super().__init__()
        self.kernels = [
            trajectory.load(i).get_weights()[0] for i in range(len(trajectory))
        ]
        self.seen = []

    def on_train_begin(self, logs=None):
        self.execution = getattr(self.model, "steps_per_execution", 1)
        self.teacher = self.model.teacher

    def on_train_batch_begin(self, batch, logs=None):
        kernel = self.teacher.get_weights()[0]
        (index,) = (i for i, k in enumerate(self.kernels) if np.array_equal(k, kernel))
        left = self.params["steps"] - batch
        self.seen += [index] * min(self.execution, left)


class Recorded(keras.callbacks.Callback):
    """The checkpoint that was looked up for each batch of training."""

    def __init__(self, cache, monkeypatch):
        super().__init__()
        self.seen = []
        look_up = cache.look_up

        def watched(rows, index):
            if max(rows) < N:
                self.seen.append(index)
            return look_up(rows, index)

        monkeypatch.setattr(cache, "look_up", watched)

    def on_train_begin(self, logs=None):
        self.seen.clear()  # Keras may have looked at a batch before


def student():
    return keras.Sequential([keras.Input((5,)), keras.layers.Dense(CLASSES)])


def compare(cache, trajectory, patch, online, compiled=None, data=None, **fit):
    """Fits on both; returns the checkpoint of each batch."""
    fitted = Fitted(student(), **(compiled or {}))
    data = {"x": X} if data is None else {"x": data}
    watch, recorded = Watch(trajectory), Recorded(cache, patch)
    live, live_logs = fitted(
        trajectory.load(-1), callbacks=[online(trajectory), watch], **data, **fit
    )
    cached, logs = fitted(cache, callbacks=[online(cache), recorded], **data, **fit)
    # The last batches may be drawn ahead and never used.
    used = recorded.seen[: len(watch.seen)]
    assert used == watch.seen
    assert_equal_weights(
        cached, live, bitwise=BACKEND != "jax" and not fit.get("shuffle")
    )
    assert moved(fitted.start, cached)
    assert logs.keys() == live_logs.keys() >= {"teacher_checkpoint", "teacher_step"}
    for name, values in logs.items():
        np.testing.assert_allclose(values, live_logs[name], rtol=2e-5)
    return used


def nearest_later(total, start=0, batches=EPOCHS * STEPS):
    """The paper's rule, word for word."""
    return [
        next((i for i in range(6) if 2 * (i + 1) * total > t * 12), 5)
        for t in range(start, batches)
    ]


def test_nearest_later_and_validation(cache, recorded_trajectory, monkeypatch):
    seen = compare(
        cache,
        recorded_trajectory,
        monkeypatch,
        OnlineTeacher,
        shuffle=True,
        validation_data=(UNSEEN,),
    )
    # It changes in the middle of epochs.
    assert seen[:STEPS] == [0, 0, 0, 1, 1, 1]


def test_hold_and_initial_epoch(cache, recorded_trajectory, monkeypatch):
    seen = compare(
        cache,
        recorded_trajectory,
        monkeypatch,
        lambda trajectory: OnlineTeacher(trajectory, hold=1 / 3),
        initial_epoch=1,
    )
    assert seen == nearest_later(12, start=STEPS)


def test_pairs_and_steps_per_execution(cache, recorded_trajectory, monkeypatch):
    together = 1 if BACKEND == "torch" else 2  # Keras has it not there
    seen = compare(
        cache,
        recorded_trajectory,
        monkeypatch,
        lambda trajectory: OnlineTeacher(trajectory, [(0, 3), (1, -1), (2, 0)]),
        compiled={"steps_per_execution": together},
    )
    assert seen == [3] * STEPS + [5] * STEPS + [0] * STEPS


@pytest.mark.skipif(BACKEND == "torch", reason="Keras: no steps_per_execution there")
def test_steps_per_execution(cache, recorded_trajectory, monkeypatch):
    seen = compare(
        cache,
        recorded_trajectory,
        monkeypatch,
        OnlineTeacher,
        compiled={"steps_per_execution": 2},
    )
    rule = nearest_later(18)
    assert seen == [rule[t - t % 2] for t in range(18)] != rule


def test_one_iterator_through_several_epochs(cache, recorded_trajectory, monkeypatch):
    """Of a repeated `tf.data` set, what is drawn ahead belongs to the next epoch."""
    data = tf.data.Dataset.from_tensor_slices(X).batch(BATCH).repeat().prefetch(4)
    seen = compare(
        cache,
        recorded_trajectory,
        monkeypatch,
        lambda trajectory: OnlineTeacher(trajectory, EqualEpochs(), total_steps=14),
        data=data,
        steps_per_epoch=4,
    )
    assert seen == [t * 6 // 14 for t in range(12)]


def test_a_pass_that_ends_with_each_epoch(cache, recorded_trajectory, monkeypatch):
    """Keras begins the next one before the next epoch."""
    data = tf.data.Dataset.from_tensor_slices(X).batch(BATCH)
    seen = compare(
        cache,
        recorded_trajectory,
        monkeypatch,
        OnlineTeacher,
        data=data,
        steps_per_epoch=STEPS,
    )
    assert seen == nearest_later(18)


def test_a_trajectory_in_the_place_of_its_cache(
    cache, recorded_trajectory, monkeypatch
):
    recorded = Recorded(cache, monkeypatch)
    distiller = Distiller(cache, student(), output_kind="categorical")
    distiller.compile("sgd")
    online = OnlineTeacher(recorded_trajectory, [(0, 1), (1, 2)])
    fit = {"batch_size": BATCH, "verbose": 0}
    distiller.fit(X, epochs=2, callbacks=[online, recorded], **fit)
    assert recorded.seen == [1] * STEPS + [2] * STEPS
    # Without a schedule it is the last one; nothing is left of the one before.
    distiller.fit(X, callbacks=[recorded], **fit)
    assert recorded.seen == [5] * STEPS


def refused(distiller, online, message):
    before = distiller.student.get_weights()
    distiller.compile("sgd")
    with pytest.raises(ValueError, match=message):
        distiller.fit(X, verbose=0, batch_size=BATCH, callbacks=[online])
    for one, other in zip(before, distiller.student.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.wrong_input
def test_what_is_refused(cache, recorded_trajectory, tmp_path):
    other = make_teacher()
    other.set_weights([weight + 1 for weight in other.get_weights()])
    train_by_hand(other, TrajectoryRecorder(tmp_path / "a", 2, "step"), epochs=4)
    refused(
        Distiller(cache, student(), output_kind="categorical"),
        OnlineTeacher(TeacherTrajectory(tmp_path / "a")),
        "must be the one whose predictions.*another one, checkpoint 0 with",
    )
    train_by_hand(other, TrajectoryRecorder(tmp_path / "b"), epochs=2)
    refused(
        Distiller(cache, student(), output_kind="categorical"),
        OnlineTeacher(TeacherTrajectory(tmp_path / "b")),
        "2 checkpoints, and the cache holds 6",
    )
    refused(
        Distiller(cache.stage(0), student(), output_kind="categorical"),
        OnlineTeacher(cache),
        "goes through the checkpoints of a `SupervisionCache`",
    )
    refused(
        Distiller(recorded_trajectory.load(-1), student(), output_kind="categorical"),
        OnlineTeacher(cache),
        "needs a distiller that learns from the cache",
    )


def test_nothing_is_kept_after_fit(recorded_trajectory, tmp_path):
    """TensorFlow keeps what a pipeline has called."""
    cache = build(recorded_trajectory, ALL, tmp_path)
    online = OnlineTeacher(cache)
    student = make_teacher()
    distiller = Distiller(cache, student, SoftTargets(2.0), output_kind="categorical")
    distiller.compile("sgd")
    distiller.fit(X, batch_size=BATCH, verbose=0, callbacks=[online])
    references = [weakref.ref(o) for o in (distiller, cache, online)]
    del distiller, student, cache, online
    keras.backend.clear_session()
    gc.collect()
    assert [reference() for reference in references] == [None] * 3
