"""The power goes between any two calls: the old state is there, or the new one.

A disk that is watched: what it holds is known for certain where it was brought there
(`fsync`), a file's content by the file's and a name by its folder's. Of the rest each
may have reached the disk or not, so that at each moment there are several disks.
"""

import itertools
import os
import stat
from pathlib import Path

import numpy as np
import pytest

from keras_kd import files

pytestmark = pytest.mark.once


class Disk:
    """Calls `seen` with what a disk can hold, `{name: content}`, around each call."""

    def __init__(self, root, hoard, seen, monkeypatch):
        self.root, self.hoard, self.seen = root, hoard, seen
        self.names, self.contents = {}, {}
        hoard.mkdir()
        for path in (root, *root.rglob("*")):
            self._keep(path)
        for name in ("fsync", "replace", "rename", "unlink", "mkdir", "rmdir"):
            monkeypatch.setattr(os, name, self._watched(name, getattr(os, name)))
        self.calls = []

    def _watched(self, name, call):
        def watched(*args, **kwargs):
            self.cut()
            result = call(*args, **kwargs)
            if name == "fsync":
                self._keep(Path(os.readlink(f"/proc/self/fd/{args[0]}")))
            self.calls.append(name)
            self.cut()
            return result

        return watched

    def _keep(self, path):
        if path.is_dir():
            children = list(path.iterdir())
            self.names[inode(path)] = {c.name: inode(c) for c in children}
            for child in children:
                # Or its number would be given to another file.
                link = self.hoard / str(inode(child))
                if child.is_file() and not link.exists():
                    os.link(child, link)
        else:
            self.contents[inode(path)] = path.read_bytes()

    def cut(self):
        for names, contents in itertools.product((True, False), repeat=2):
            self.seen(self.image(names, contents))

    def image(self, names, contents):
        """What is there, if of what is not certain the names, or contents, are."""
        found = {}
        self._collect(inode(self.root), self.root, "", names, contents, found)
        return found

    def _collect(self, number, path, prefix, names, contents, found):
        if names:
            children = {c.name: inode(c) for c in path.iterdir()}
        else:
            children = self.names.get(number, {})
        for name, child in children.items():
            live = path / name
            same = live.exists() and inode(live) == child
            hoarded = self.hoard / str(child)
            is_file = hoarded.exists() or (same and live.is_file())
            if not is_file:
                self._collect(child, live, f"{prefix}{name}/", names, contents, found)
            elif contents:
                there = live if same else hoarded
                found[prefix + name] = there.read_bytes()
            else:
                found[prefix + name] = self.contents.get(child, b"")


def inode(path):
    status = path.lstat()
    assert stat.S_ISDIR(status.st_mode) or stat.S_ISREG(status.st_mode)
    return status.st_ino


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
