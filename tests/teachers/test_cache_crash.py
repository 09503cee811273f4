"""Whatever ends the building of a cache, the finished one is the same."""

import contextlib
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
from tiny_caches import BACKEND, build, examples, files, network
from tiny_teachers import train_by_hand

from keras_kd import SupervisionCache, TeacherTrajectory, TrajectoryRecorder
from keras_kd.teachers.cache import stage_writer

KILLS = 10


class Fault(BaseException):
    """As abrupt as a power cut: nobody catches it."""


class Faults:
    """Fails the n-th of all calls that change the disk, before or after its effect."""

    def __init__(self, patch, at, after):
        self.calls, self.at, self.after = 0, at, after
        self.dead = False
        for owner, name in (
            (os, "replace"),
            (os, "fsync"),
            (np, "save"),
            (np.memmap, "flush"),
            (np.lib.format, "open_memmap"),
            (pathlib.Path, "write_text"),
            (pathlib.Path, "unlink"),
        ):
            self.wrap(patch, owner, name)

    def wrap(self, patch, owner, name):
        original = getattr(owner, name)

        def call(*args, **kwargs):
            if name == "open_memmap" and "w+" not in args:  # only read
                return original(*args, **kwargs)
            if self.dead:  # nothing more reaches the disk, no cleaning up either
                raise Fault
            self.calls += 1
            self.dead = self.calls == self.at
            if self.dead and not self.after:
                if name in ("write_text", "open_memmap"):
                    # Torn in the middle of writing.
                    pathlib.Path(args[0]).write_bytes(b'{"format": ')
                raise Fault
            result = original(*args, **kwargs)
            if self.dead:
                raise Fault
            return result

        patch.setattr(owner, name, call)


@pytest.fixture(scope="module")
def trajectory(tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher")
    train_by_hand(network(), TrajectoryRecorder(folder, 3, "step"), epochs=2)
    return TeacherTrajectory(folder)


@pytest.mark.parametrize("replaced", [False, True])
def test_a_fault_at_any_moment(replaced, trajectory, tmp_path, monkeypatch):
    """Two checkpoints, three batches each, a flush after each batch."""
    x, y = examples(20)
    monkeypatch.setattr(stage_writer, "_FLUSH_AFTER", -1.0)
    if replaced:
        # Whole, and of more examples: nothing of it may be left.
        build(trajectory, examples(28, seed=1), tmp_path / "other")

    def fresh(folder):
        if replaced:
            shutil.copytree(tmp_path / "other", folder)
        return folder

    def build_again(folder):
        return build(trajectory, (x, y), folder, overwrite=replaced)

    undisturbed = files(build_again(tmp_path / "undisturbed").folder)
    fresh(tmp_path / "counted")
    with monkeypatch.context() as patch:
        counted = Faults(patch, at=0, after=False)
        build_again(tmp_path / "counted")
    assert files(tmp_path / "counted") == undisturbed
    assert counted.calls > 30
    # One half of them before and one half after what happens there. Every moment where
    # that is quick: the files do not depend on the backend.
    for at in range(1, counted.calls + 1, 1 if BACKEND == "torch" else 7):
        folder = fresh(tmp_path / f"{at}")
        with monkeypatch.context() as patch:
            Faults(patch, at, after=at % 2 == 0)
            with pytest.raises(Fault):
                build_again(folder)
        if (folder / "supervision.json").exists():
            SupervisionCache(folder).verify()
        else:
            with pytest.raises(FileNotFoundError, match="no finished"):
                SupervisionCache(folder)
        build_again(folder)
        assert files(folder) == undisturbed
        shutil.rmtree(folder)


# What the processes run that are killed. Each is a copy of one that has imported all
# that is slow to import, and done nothing with it that threads might be busy with.
SERVER = """if True:
    import os, sys, time
    sys.path[:0] = {path!r}
    import keras
    from test_cache_crash import slowly
    keras.saving.serialize_keras_object(keras.losses.MeanSquaredError())
    for line in sys.stdin:
        child = os.fork()
        if not child:
            status = 1
            try:
                slowly({trajectory!r}, line.strip())
                status = 0
            finally:
                os._exit(status)
        print(child, flush=True)
        print(os.waitpid(child, 0)[1], flush=True)
    """


class SlowData(keras.utils.PyDataset):
    """Takes its time over each batch, so that a kill is likely to hit one."""

    def __init__(self):
        super().__init__()
        self.x, self.y = examples(64)

    def __len__(self):
        return 16

    def __getitem__(self, i):
        time.sleep(0.005)
        return self.x[4 * i : 4 * i + 4], self.y[4 * i : 4 * i + 4]


def slowly(trajectory, folder):
    stage_writer._FLUSH_AFTER = 0.02
    build(TeacherTrajectory(trajectory), SlowData(), folder)


@pytest.mark.skipif(
    BACKEND != "torch" or not hasattr(os, "fork"),
    reason="the backend that starts fastest stands for all: NumPy writes the files",
)
def test_killed_ten_times(trajectory, tmp_path):
    server = subprocess.Popen(
        [
            sys.executable,
            "-c",
            SERVER.format(path=sys.path, trajectory=str(trajectory.folder)),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def run(folder, kill_after=None):
        """Builds; returns whether it was killed, and how long it took."""
        print(folder, file=server.stdin, flush=True)
        child = int(server.stdout.readline())
        begun = time.monotonic()
        if kill_after is not None:
            time.sleep(kill_after)
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.kill(child, signal.SIGKILL)
        status = int(server.stdout.readline())
        assert status in (0, signal.SIGKILL)
        return status == signal.SIGKILL, time.monotonic() - begun

    try:
        _, seconds = run(tmp_path / "undisturbed")
        undisturbed = files(tmp_path / "undisturbed")
        assert "supervision.json" in undisturbed
        rng = random.Random(0)
        folder, killed = tmp_path / "0", 0
        while killed < KILLS:
            was_killed, _ = run(folder, rng.uniform(0.2, 1) * seconds)
            killed += was_killed
            if (folder / "supervision.json").exists():
                assert files(folder).items() >= undisturbed.items()
                folder = tmp_path / f"{killed}"
            else:
                with pytest.raises(FileNotFoundError, match="no finished"):
                    SupervisionCache(folder)
        for folder in tmp_path.iterdir():
            assert run(folder)[0] is False
            assert files(folder) == undisturbed
    finally:
        server.stdin.close()
        server.wait()
