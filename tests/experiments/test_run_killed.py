"""A study that is killed while it runs, and goes on."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import pytest

from keras_kd.experiments.studies import results

pytestmark = [
    pytest.mark.one_backend,
    pytest.mark.skipif(
        keras.backend.backend() != "torch",
        reason="Four processes; test_snapshot.py goes on bit by bit on every backend.",
    ),
]

SCRIPT = Path(__file__).with_name("tiny_study.py")


def start(folder):
    return subprocess.Popen([sys.executable, SCRIPT, folder], env=os.environ)


def numbers(folder):
    return [
        {k: v for k, v in r.items() if k != "seconds"}
        for r in results.read(folder / results.RESULTS)
    ]


def test_killed_while_it_writes(tmp_path):
    """As soon as there is a snapshot or a checkpoint that was not there before."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert start(whole).wait() == 0
    for _ in range(2):
        process = start(parts)
        while process.poll() is None and not written(parts, process.pid):
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert start(parts).wait() == 0
    assert numbers(parts) == numbers(whole)
    assert len(numbers(whole)) == 3
    assert not list(parts.glob("**/snapshot*"))


_seen: dict[int, set] = {}


def written(folder, pid):
    """Whether a file of weights or a snapshot is new, or another one."""
    files = set()
    for pattern in ("**/*.npz", "**/*.h5"):
        for file in folder.glob(pattern):
            with contextlib.suppress(FileNotFoundError):
                files.add((file, file.stat().st_mtime_ns))
    return bool(files - _seen.setdefault(pid, files))
