"""Whatever ends a recording, what its manifest names can be read."""

import builtins
import hashlib
import itertools
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import time

import h5py
import keras
import pytest
from tiny_teachers import train_by_hand

from keras_kd.teachers import TeacherTrajectory, TrajectoryRecorder


class Fault(BaseException):
    """As abrupt as a power cut: nobody catches it."""


class Faults:
    """Fails the n-th of all calls that change the disk, before or after its effect."""

    def __init__(self, monkeypatch, at, after):
        self.calls = 0
        self.at = at
        self.after = after
        self.dead = False
        for owner, name in (
            (os, "replace"),
            (os, "fsync"),
            (pathlib.Path, "write_text"),
            (pathlib.Path, "write_bytes"),
            (pathlib.Path, "unlink"),
        ):
            self.wrap(monkeypatch, owner, name)

    def wrap(self, monkeypatch, owner, name):
        original = getattr(owner, name)

        def call(*args, **kwargs):
            if self.dead:  # nothing more reaches the disk, no cleaning up either
                raise Fault
            self.calls += 1
            self.dead = self.calls == self.at
            if self.dead and not self.after:
                if "write" in name:
                    # Torn in the middle of writing.
                    with builtins.open(args[0], "wb") as file:
                        file.write(b'{"format": ')
                raise Fault
            result = original(*args, **kwargs)
            if self.dead:
                raise Fault
            return result

        monkeypatch.setattr(owner, name, call)


def make_model():
    return keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])


def check(folder):
    """All that the manifest names is there, whole, and of increasing steps."""
    try:
        manifest = json.loads((folder / "trajectory.json").read_text())
    except FileNotFoundError:
        return []
    for checkpoint in manifest["checkpoints"]:
        content = (folder / checkpoint["file"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == checkpoint["sha256"]
        with h5py.File(folder / checkpoint["file"]) as file:
            assert len(file["layers/dense/vars"]) == 2
    steps = [checkpoint["step"] for checkpoint in manifest["checkpoints"]]
    if steps:
        assert len(TeacherTrajectory(folder)) == len(steps)
    return steps


@pytest.mark.parametrize("after", [False, True])
def test_a_fault_at_any_moment(tmp_path, monkeypatch, after):
    """Of a recording that truncates a former one and adds to it."""
    model, former = make_model(), tmp_path / "former"
    train_by_hand(model, TrajectoryRecorder(former), epochs=3, steps=2)
    assert check(former) == [2, 4, 6]
    seen = set()
    for at in itertools.count(1):
        folder = shutil.copytree(former, tmp_path / f"{at}")
        with monkeypatch.context() as patch:
            faults = Faults(patch, at, after)
            recorder = TrajectoryRecorder(folder, overwrite=True)
            try:
                train_by_hand(model, recorder, epochs=3, steps=2, initial_epoch=1)
            except Fault:
                pass
            else:
                break
        steps = check(folder)
        seen.add(tuple(steps))
        assert steps in ([2, 4, 6], [2], [2, 4])
        # The next start removes what was left, and only that.
        recorder = TrajectoryRecorder(folder, overwrite=True)
        train_by_hand(model, recorder, epochs=2, steps=2, initial_epoch=1)
        assert check(folder) == [2, 4]
        assert len(list(folder.iterdir())) == 3
    assert faults.calls == at - 1 > 15
    assert seen == {(2, 4, 6), (2,), (2, 4)}


def test_kill_9(tmp_path):
    script = f"""if True:
        import sys
        sys.path[:0] = {sys.path!r}
        from test_crash import make_model
        from tiny_teachers import train_by_hand
        from keras_kd.teachers import TrajectoryRecorder
        model = make_model()
        while True:
            recorder = TrajectoryRecorder(
                {str(tmp_path)!r}, 1, "step", ema=0.9, overwrite=True
            )
            train_by_hand(model, recorder, epochs=4)
            train_by_hand(model, recorder, epochs=4, initial_epoch=2)
        """
    process = subprocess.Popen([sys.executable, "-c", script])
    try:
        while not list(tmp_path.glob("step-*")):
            assert process.poll() is None
            time.sleep(0.01)
        time.sleep(random.Random(os.getpid()).random())
    finally:
        process.kill()
        process.wait()
    check(tmp_path)
    recorder = TrajectoryRecorder(tmp_path, overwrite=True)
    train_by_hand(make_model(), recorder, epochs=2)
    assert check(tmp_path) == [3, 6]
    assert len(list(tmp_path.iterdir())) == 3
