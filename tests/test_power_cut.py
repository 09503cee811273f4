"""The power goes between any two calls: the old state is there, or the new one."""

import os

import numpy as np
import pytest
from watched_disk import Disk

from keras_kd import files

pytestmark = pytest.mark.once


def replace(root):
    files.write_text(root / "file", "new")


def write_array(root):
    files.write_array(root / "file", np.arange(100))


def append(root):
    files.append_line(root / "file", "new")


def remove(root):
    files.remove(root / "file")


def fill(root):
    with files.filling(root / "folder") as part:
        for name in "abc":
            (part / name).write_text(name)


@pytest.mark.parametrize("old", [None, b"old\n"])
@pytest.mark.parametrize("action", [replace, write_array, append, remove, fill])
def test_cut_at_any_call(action, old, tmp_path, monkeypatch):
    root, states = tmp_path / "root", []
    root.mkdir()
    if old is not None:
        (root / "file").write_bytes(old)
    with monkeypatch.context() as patch:
        disk = Disk(root, tmp_path / "hoard", states.append, patch)
        before = disk.image(False, False)
        action(root)
        after = disk.image(False, False)
    # On the disk for certain when it returns.
    assert after == {
        str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()
    }
    seen = [{k: v for k, v in state.items() if ".tmp" not in k} for state in states]
    allowed = [before, after]
    if action is append and old is None:
        allowed.append({"file": b""})  # No line.
    assert all(state in allowed for state in seen)
    if before != after:
        assert {str(s) for s in seen} >= {str(before), str(after)}


def test_the_disk_loses_what_is_not_synced(tmp_path, monkeypatch):
    """Or the test above would find nothing."""
    root, states = tmp_path / "root", []
    root.mkdir()
    (root / "file").write_text("old")
    Disk(root, tmp_path / "hoard", states.append, monkeypatch)
    (root / "file.tmp").write_text("new")
    os.replace(root / "file.tmp", root / "file")
    seen = [state["file"] for state in states]
    assert b"" in seen
    assert set(seen) == {b"", b"old", b"new"}
