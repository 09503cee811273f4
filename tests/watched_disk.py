"""A disk that is watched: what it may hold if the power goes.

What it holds is known for certain where it was brought there (`fsync`), a file's
content by the file's and a name by its folder's. Of the rest each may have reached the
disk or not, so that at each moment there are several disks.
"""

import itertools
import os
import stat
from pathlib import Path


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
