"""Whose the recorder's folder is: what it replaces, and what a crash may leave."""

import gc
import json
import subprocess
import sys
import threading

import keras
import numpy as np
import pytest
from tiny_teachers import Crash, compiled, make_data, make_teacher, same, train_by_hand

from keras_kd.teachers import (
    OnlineTeacher,
    SupervisionCache,
    TeacherTrajectory,
    TrajectoryRecorder,
)

pytestmark = pytest.mark.one_backend


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def steps(folder):
    return [c.step for c in TeacherTrajectory(folder)]


def interrupted(folder, epochs, at, **kwargs):
    """A recording of which only the epochs before `at` have ended."""
    recorder = TrajectoryRecorder(folder, **kwargs)
    with pytest.raises(KeyboardInterrupt):
        train_by_hand(make_teacher(), recorder, Crash(at), epochs=epochs)


@pytest.mark.parametrize("initial_epoch", [0, 1])
@pytest.mark.parametrize("finished", [True, False, None])
def test_a_second_fit_cuts_nothing(tmp_path, initial_epoch, finished):
    recorder = TrajectoryRecorder(tmp_path)
    model = make_teacher()
    train_by_hand(model, recorder, epochs=3)
    manifest = tmp_path / "trajectory.json"
    content = json.loads(manifest.read_text())
    assert content["finished"] is True
    content["finished"] = finished  # `None`: by version 0.1
    manifest.write_text(json.dumps(content))
    before = files(tmp_path)
    if finished is False and initial_epoch == 1:  # resumed where a backup was older
        train_by_hand(model, recorder, epochs=2, initial_epoch=1)
        assert steps(tmp_path) == [3, 6]
        return
    with pytest.raises(
        ValueError, match=r"3 checkpoints up to epoch 3.*initial_epoch=3"
    ):
        train_by_hand(model, recorder, epochs=3, initial_epoch=initial_epoch)
    assert files(tmp_path) == before
    # What the message names, works.
    train_by_hand(model, recorder, epochs=4, initial_epoch=3)
    assert steps(tmp_path) == [3, 6, 9, 12]
    recorder = TrajectoryRecorder(tmp_path, overwrite=True)
    train_by_hand(
        model, recorder, epochs=initial_epoch + 1, initial_epoch=initial_epoch
    )
    assert steps(tmp_path) == [3, 6][: initial_epoch + 1]


def test_who_was_interrupted_in_the_first_epoch_begins_again(tmp_path):
    interrupted(tmp_path, 3, at=1)
    assert steps(tmp_path) == [3]
    assert TeacherTrajectory(tmp_path).finished is False
    train_by_hand(make_teacher(), TrajectoryRecorder(tmp_path), epochs=2)
    assert steps(tmp_path) == [3, 6]
    assert TeacherTrajectory(tmp_path).finished is True


def test_another_architecture_is_replaced_when_asked_for(tmp_path):
    train_by_hand(make_teacher(units=6), TrajectoryRecorder(tmp_path), epochs=3)
    recorder = TrajectoryRecorder(tmp_path, overwrite=True)
    before = files(tmp_path)
    with pytest.raises(ValueError, match="same architecture"):  # no continuation
        train_by_hand(make_teacher(), recorder, epochs=2, initial_epoch=1)
    assert files(tmp_path) == before
    train_by_hand(make_teacher(), recorder, epochs=2)
    assert steps(tmp_path) == [3, 6]
    assert len(files(tmp_path)) == 3
    TeacherTrajectory(tmp_path).load(-1, make_teacher())


# One recorder a folder.


@pytest.mark.parametrize("there", [True, False])
def test_two_recorders_of_one_training(tmp_path, there):
    folder = tmp_path / "teacher"
    if there:
        folder.mkdir()
    recorders = [TrajectoryRecorder(folder), TrajectoryRecorder(folder, ema=0.9)]
    with pytest.raises(BlockingIOError, match=r"Another TrajectoryRecorder records in"):
        train_by_hand(make_teacher(), *recorders, epochs=2)
    del recorders
    train_by_hand(make_teacher(), TrajectoryRecorder(folder), epochs=2)
    assert steps(folder) == [3, 6]


def test_another_process(tmp_path):
    refused = []
    script = f"""if True:
        import sys
        sys.path[:0] = {sys.path!r}
        from tiny_teachers import make_teacher, train_by_hand
        from keras_kd.teachers import TrajectoryRecorder
        recorder = TrajectoryRecorder({str(tmp_path)!r}, overwrite=True)
        train_by_hand(make_teacher(), recorder, epochs=1)
        """

    class Other(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                result = subprocess.run(
                    [sys.executable, "-c", script],
                    capture_output=True,
                    text=True,
                    check=False,
                )
                refused.append(result.stderr.splitlines()[-1])

    train_by_hand(make_teacher(), TrajectoryRecorder(tmp_path), Other(), epochs=2)
    assert "BlockingIOError: Another TrajectoryRecorder records in" in refused[0]
    assert steps(tmp_path) == [3, 6]


def test_another_thread(tmp_path):
    refused = []

    def record():
        try:
            train_by_hand(make_teacher(), TrajectoryRecorder(tmp_path), epochs=1)
        except BlockingIOError as error:
            refused.append(error)

    class Other(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            thread = threading.Thread(target=record)
            thread.start()
            thread.join()

    train_by_hand(make_teacher(), TrajectoryRecorder(tmp_path), Other(), epochs=2)
    assert len(refused) == 2
    assert steps(tmp_path) == [3, 6]


def test_a_training_that_an_exception_has_ended_gives_way(tmp_path):
    old = TrajectoryRecorder(tmp_path)  # as a traceback keeps it
    with pytest.raises(KeyboardInterrupt):
        train_by_hand(make_teacher(), old, Crash(2), epochs=3)
    new = TrajectoryRecorder(tmp_path)
    train_by_hand(make_teacher(), new, epochs=3, initial_epoch=2)
    assert steps(tmp_path) == [3, 6, 9]
    old.on_epoch_begin(2)
    with pytest.raises(BlockingIOError):  # should it not have ended
        old.on_epoch_end(2)
    assert steps(tmp_path) == [3, 6, 9]
    del old, new
    gc.collect()


# A crash between a backup and the recorder.


class Between(keras.callbacks.Callback):
    """Ends training after the callbacks before it, and before those after it."""

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt


def fit(folder, *callbacks, ema, every=1, first=False):
    keras.utils.set_random_seed(3)
    recorder = TrajectoryRecorder(folder, every=every, ema=ema)
    backup = keras.callbacks.BackupAndRestore(folder.parent / "backup")
    around = [recorder, *callbacks, backup] if first else [backup, *callbacks, recorder]
    x, y = make_data()
    model = keras.Sequential(
        [keras.Input((5,)), keras.layers.Dense(4), keras.layers.Dense(3)]
    )
    compiled(model).fit(
        x, y, batch_size=4, epochs=4, shuffle=False, verbose=0, callbacks=around
    )


@pytest.mark.parametrize(
    ("first", "ema", "every", "lost"),
    [
        (True, None, 1, ()),
        (True, 0.9, 1, ()),
        (False, None, 1, ()),
        (False, None, 2, ()),
        (False, 0.9, 1, (10,)),
        (False, 0.9, 3, ()),  # none was due there
    ],
)
@pytest.mark.filterwarnings("ignore:The trajectory in:UserWarning")
def test_a_crash_between_backup_and_recorder(tmp_path, first, ema, every, lost):
    fit(tmp_path / "whole" / "teacher", ema=ema, every=every)
    folder = tmp_path / "resumed" / "teacher"
    with pytest.raises(KeyboardInterrupt):
        fit(folder, Between(), ema=ema, every=every, first=first)
    if lost:
        with pytest.warns(UserWarning, match=r"lacks the checkpoints of step 10: "):
            fit(folder, ema=ema, every=every, first=first)
    else:
        fit(folder, ema=ema, every=every, first=first)
    whole = TeacherTrajectory(tmp_path / "whole" / "teacher")
    resumed = TeacherTrajectory(folder)
    assert resumed.lost == lost
    assert [c.step for c in resumed] == [c.step for c in whole if c.step not in lost]
    if lost:
        for use in (
            lambda: OnlineTeacher(resumed),
            lambda: SupervisionCache.build(resumed, make_data()[0], tmp_path / "cache"),
        ):
            with pytest.raises(ValueError, match=r"lost those of step 10.*from_files"):
                use()
        assert not (tmp_path / "cache").exists()
        return
    OnlineTeacher(resumed)
    if ema is None:
        for i in range(len(whole)):
            one, other = whole.load(i), resumed.load(i)
            assert same(one.get_weights(), other.get_weights())


def test_several_are_lost(tmp_path):
    interrupted(tmp_path, 9, at=1)
    with pytest.warns(UserWarning, match=r"lacks the checkpoints of steps 6, 9, 12:"):
        train_by_hand(
            make_teacher(), TrajectoryRecorder(tmp_path), epochs=6, initial_epoch=5
        )
    assert steps(tmp_path) == [3, 15, 18]
    # Once said, it stays so, as long as what came after is there.
    train_by_hand(
        make_teacher(), TrajectoryRecorder(tmp_path), epochs=7, initial_epoch=6
    )
    assert TeacherTrajectory(tmp_path).lost == (6, 9, 12)
    recorder = TrajectoryRecorder(tmp_path, overwrite=True)
    train_by_hand(make_teacher(), recorder, epochs=2, initial_epoch=1)
    assert TeacherTrajectory(tmp_path).lost == ()


def test_a_recording_that_begins_late_lacks_nothing(tmp_path):
    for _ in range(2):  # interrupted, and again
        recorder = TrajectoryRecorder(tmp_path)
        with pytest.raises(KeyboardInterrupt):
            train_by_hand(make_teacher(), recorder, Crash(5), epochs=6, initial_epoch=5)
    train_by_hand(
        make_teacher(), TrajectoryRecorder(tmp_path), epochs=6, initial_epoch=5
    )
    assert steps(tmp_path) == [18]
    assert TeacherTrajectory(tmp_path).lost == ()


def test_an_interrupted_recording_keeps_its_spacing(tmp_path):
    """What another spacing would have recorded is not missing."""
    interrupted(tmp_path, 9, at=4, every=3)
    assert steps(tmp_path) == [9]
    recorder = TrajectoryRecorder(tmp_path, every=1)
    train_by_hand(make_teacher(), recorder, epochs=6, initial_epoch=5)
    assert steps(tmp_path) == [9, 18]
    assert TeacherTrajectory(tmp_path).lost == ()


def test_what_is_to_be_done_where_the_backup_is_broken(tmp_path):
    """The way out of the docstring."""
    folder = tmp_path / "teacher"
    with pytest.raises(KeyboardInterrupt):
        fit(folder, Between(), ema=None, first=True)
    (tmp_path / "backup" / "training_metadata.json").write_text("")
    with pytest.raises(ValueError, match="Expecting value"):  # Keras's own
        fit(folder, ema=None, first=True)
    trajectory = TeacherTrajectory(folder)
    teacher = compiled(trajectory.load(-1))
    x, y = make_data()
    teacher.fit(
        x,
        y,
        batch_size=4,
        epochs=4,
        initial_epoch=trajectory[-1].epoch,
        callbacks=[TrajectoryRecorder(folder)],
        verbose=0,
    )
    assert steps(folder) == [5, 10, 15, 20]
    assert np.isfinite(TeacherTrajectory(folder).load(-1).get_weights()[0]).all()


@pytest.mark.parametrize("at", [1, 2])
def test_a_backup_whose_weights_are_an_epoch_ahead(at, tmp_path):
    """As a kill between its two files leaves it; the way out of the docstring."""
    whole = tmp_path / "whole"
    train_by_hand(make_teacher(), TrajectoryRecorder(whole), epochs=4)
    folder, model = tmp_path / "teacher", make_teacher()
    model.set_weights(TeacherTrajectory(whole).load(0).get_weights())
    for variable in model.weights:
        variable.assign(variable - 3 / 64)
    with pytest.raises(KeyboardInterrupt):
        train_by_hand(model, TrajectoryRecorder(folder), Crash(at), epochs=4)
    before = files(folder)
    with pytest.raises(ValueError, match=rf"step {3 * at - 3}, .* of step {3 * at}: "):
        train_by_hand(model, TrajectoryRecorder(folder), epochs=4, initial_epoch=at - 1)
    assert files(folder) == before
    trajectory = TeacherTrajectory(folder)
    trajectory.load(-1, model)
    train_by_hand(
        model, TrajectoryRecorder(folder), epochs=4, initial_epoch=trajectory[-1].epoch
    )
    assert steps(folder) == steps(whole)
    assert same(
        TeacherTrajectory(folder).load(-1).get_weights(),
        TeacherTrajectory(whole).load(-1).get_weights(),
    )
    # Weights that went nowhere are not an epoch ahead.
    frozen = tmp_path / "frozen"
    for epochs, first in ((2, 0), (3, 1)):
        recorder = TrajectoryRecorder(frozen)
        callbacks = keras.callbacks.CallbackList([recorder], model=model, steps=1)
        callbacks.on_train_begin()
        for epoch in range(first, epochs):
            callbacks.on_epoch_begin(epoch)
            callbacks.on_train_batch_begin(0)
            callbacks.on_train_batch_end(0)
            callbacks.on_epoch_end(epoch)


def test_a_disk_that_is_full(tmp_path):
    """HDF5 itself ends the process where it closes a file that has no room."""
    resource = pytest.importorskip("resource")
    recorder = TrajectoryRecorder(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    class Full(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, before[1]))

    model = make_teacher()
    try:
        with pytest.raises(OSError, match=r"step-00000009.*cannot be written: File"):
            train_by_hand(model, recorder, Full(), epochs=4)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    trajectory = TeacherTrajectory(tmp_path)
    trajectory.check()
    assert steps(tmp_path) == [3, 6]
    trajectory.load(-1, model)
    train_by_hand(model, TrajectoryRecorder(tmp_path), epochs=4, initial_epoch=2)
    assert steps(tmp_path) == [3, 6, 9, 12]
