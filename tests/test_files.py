"""Whatever fails, the old content or the new one is there, and nothing else."""

import contextlib
import json
import os
import shutil
import stat
import subprocess
import sys

import numpy as np
import pytest

from keras_kd import files
from keras_kd.files import FolderLock

pytestmark = pytest.mark.once


class Fault(BaseException):
    """What nobody catches."""


@pytest.fixture
def calls(monkeypatch):
    """Records what reaches the disk, in order; fails at the place `calls.at`."""
    return Calls(monkeypatch)


class Calls(list):
    at = None

    def __init__(self, monkeypatch):
        super().__init__()
        self.fsync, self.replace = os.fsync, os.replace
        monkeypatch.setattr(os, "fsync", self._fsync)
        monkeypatch.setattr(os, "replace", self._replace)

    def happens(self, *what):
        self.append(what)
        if self.at is not None and len(self) - 1 == self.at[0]:
            raise self.at[1]

    def _fsync(self, descriptor):
        inode = os.fstat(descriptor)
        kind = "folder" if stat.S_ISDIR(inode.st_mode) else "file"
        self.happens("fsync", kind, inode.st_ino)
        self.fsync(descriptor)

    def _replace(self, source, target):
        self.happens("rename", source.name, target.name)
        self.replace(source, target)


def inode(path):
    return path.stat().st_ino


def write_file(path):
    with files.replacing(path) as temporary:
        temporary.write_text("new")


WRITERS = {
    "replacing": (write_file, "new"),
    "write_text": (lambda path: files.write_text(path, "± new"), "± new"),
    "write_json": (lambda path: files.write_json(path, {"a": [1]}), None),
    "write_array": (lambda path: files.write_array(path, np.arange(3)), None),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_is_written_then_synced_then_renamed(name, calls, tmp_path):
    write, text = WRITERS[name]
    path = tmp_path / "file"
    write(path)
    temporary = path.with_name("file.tmp")
    assert calls == [
        ("fsync", "file", inode(path)),
        ("rename", temporary.name, path.name),
        ("fsync", "folder", inode(tmp_path)),
    ]
    assert list(tmp_path.iterdir()) == [path]
    if text is not None:
        assert path.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("error", [Fault(), OSError("disk"), KeyboardInterrupt()])
@pytest.mark.parametrize("old", [True, False])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_fault_while_a_file_is_put_in_place(at, old, error, calls, tmp_path):
    path = tmp_path / "file"
    if old:
        path.write_text("old")
    calls.at = at, error
    with pytest.raises(type(error)):
        write_file(path)
    assert len(calls) == at + 1
    # Only the last is after the renaming.
    if at == 2:
        assert path.read_text() == "new"
    else:
        assert path.exists() == old
        assert not old or path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"] * (old or at == 2)


@pytest.mark.parametrize("error", [Fault(), ValueError("no JSON"), KeyboardInterrupt()])
def test_a_fault_while_a_file_is_written(error, calls, tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def write():
        with files.replacing(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(type(error)):
        write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    assert calls == []


def test_nothing_is_written_of_what_json_does_not_have(tmp_path):
    with pytest.raises(TypeError, match="not JSON serializable"):
        files.write_json(tmp_path / "file", {"a": object()})
    assert list(tmp_path.iterdir()) == []
    files.write_json(tmp_path / "file", {"a": tmp_path}, default=str, indent=None)
    assert (tmp_path / "file").read_text() == json.dumps({"a": str(tmp_path)})


def test_a_temporary_that_was_left_is_taken_over(tmp_path):
    (tmp_path / "file.tmp").write_text("torn, and longer than the new content")
    write_file(tmp_path / "file")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "new"


@pytest.mark.parametrize(
    ("name", "temporary"),
    [
        ("student.weights.h5", "student.tmp.weights.h5"),
        ("model.keras", "model.tmp.keras"),
        ("curves.png", "curves.tmp.png"),
        ("keys.npy", "keys.npy.tmp"),
        ("trajectory.json", "trajectory.json.tmp"),
        ("README", "README.tmp"),
    ],
)
def test_temporary_names_end_as_the_writer_wants_them(name, temporary, tmp_path):
    with files.replacing(tmp_path / name) as path:
        assert path == tmp_path / temporary
        path.touch()


def test_what_a_link_points_to_is_replaced(tmp_path):
    (tmp_path / "folder").mkdir()
    target = tmp_path / "folder" / "target"
    target.write_text("old")
    link = tmp_path / "link"
    link.symlink_to(target)
    write_file(link)
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert list((tmp_path / "folder").iterdir()) == [target]


@pytest.mark.attack
@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("moment", ["before", "between", "while"])
def test_a_link_under_the_temporary_name_is_not_written_through(
    moment, write, monkeypatch, tmp_path
):
    """Planted before, right after the name was cleared, or while it is written."""
    path, victim = tmp_path / "file", tmp_path / "victim"
    path.write_text("old")
    victim.write_text("mine")
    temporary = tmp_path / "file.tmp"
    if moment == "before":
        temporary.symlink_to(victim)
        WRITERS[write][0](path)
        assert path.read_bytes() != b"old"
    elif moment == "between":
        unlink = files.Path.unlink

        def planted(place, missing_ok=False):
            unlink(place, missing_ok)
            if not place.is_symlink():
                place.symlink_to(victim)

        with monkeypatch.context() as patch:
            patch.setattr(files.Path, "unlink", planted)
            with pytest.raises(FileExistsError):
                WRITERS[write][0](path)
        assert path.read_text() == "old"
    else:

        def exchange():
            with files.replacing(path):
                temporary.unlink()
                temporary.symlink_to(victim)

        with pytest.raises(OSError, match="was exchanged"):
            exchange()
        assert path.read_text() == "old"
    assert victim.read_text() == "mine"
    assert not path.is_symlink()


@pytest.mark.attack
def test_links_where_a_folder_and_lines_are_written(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    folder = make_old(tmp_path)
    (folder / "new.tmp").symlink_to(outside)
    fill(folder)
    assert content(folder) == OLD | NEW
    assert not list(outside.iterdir())
    (outside / "victim").write_text("mine")
    (folder / "lines").symlink_to(outside / "victim")
    with pytest.raises(ValueError, match="Received: a link"):
        files.append_line(folder / "lines", "one")
    (folder / "lines").unlink()
    (folder / "lines").symlink_to(outside / "nothing")
    with pytest.raises(ValueError, match="Received: a link"):
        files.append_line(folder / "lines", "one")
    assert content(outside) == {"victim": "mine"}


def write_lines(path):
    files.append_line(path, "long" * 9999)


def write_folder(path):
    with files.filling(path.parent) as temporary:
        (temporary / path.name).write_text("long" * 9999)


def write_large(path):
    files.write_text(path, "long" * 9999)


@pytest.mark.parametrize("write", [write_large, write_lines, write_folder])
def test_a_full_disk_is_named(write, tmp_path):
    """Nothing of what was there is lost."""
    resource = pytest.importorskip("resource")
    path = tmp_path / "file"
    path.write_bytes(b"old\n")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(OSError, match="cannot be written: File too large") as e:
            write(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert str(tmp_path) in str(e.value)
    assert path.read_bytes().startswith(b"old\n")
    assert list(tmp_path.iterdir()) == [path]
    write(path)
    assert path.read_text().endswith("long" + "\n" * (write is write_lines))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="has no named pipes")
def test_a_pipe_stays_one(calls, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        files.write_text(pipe, "text")
        assert os.read(reader, 100) == b"text"
    finally:
        os.close(reader)
    assert calls == []
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


# Folders


def fill(folder):
    with files.filling(folder) as temporary:
        assert list(temporary.iterdir()) == []
        (temporary / "b").write_text("new b")
        os.utime(temporary / "b", ns=(1, 1))
        (temporary / "inner").mkdir()
        (temporary / "inner" / "c").write_text("new c")
        os.utime(temporary / "inner" / "c", ns=(2, 2))
        (temporary / "a").write_text("new a")
        os.utime(temporary / "a", ns=(3, 3))


NEW = {"a": "new a", "b": "new b", "inner/c": "new c"}
OLD = {"a": "old a", "b": "old b", "other": "other"}


def content(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_new_folder_is_synced_then_renamed(calls, tmp_path):
    folder = tmp_path / "folder"
    fill(folder)
    assert content(folder) == NEW
    *contents, rename, last = calls
    assert sorted(contents) == sorted(
        [
            ("fsync", "file", inode(folder / "a")),
            ("fsync", "file", inode(folder / "b")),
            ("fsync", "file", inode(folder / "inner" / "c")),
            ("fsync", "folder", inode(folder / "inner")),
            ("fsync", "folder", inode(folder)),
        ]
    )
    assert rename == ("rename", "folder.tmp", "folder")
    assert last == ("fsync", "folder", inode(tmp_path))
    assert list(tmp_path.iterdir()) == [folder]


def test_the_files_of_a_folder_are_replaced_in_the_order_of_their_writing(
    calls, tmp_path
):
    folder = make_old(tmp_path)
    fill(folder)
    assert content(folder) == OLD | NEW
    renames = [call for call in calls if call[0] == "rename"]
    assert renames == [("rename", name, name) for name in ("b", "c", "a")]
    first = calls.index(renames[0])
    assert [call[1] for call in calls[:first]].count("file") == 3
    # After each of them the folder in which it is, a new one's parent before.
    inner = inode(folder / "inner")
    assert [call[-1] for call in calls[first:]] == [
        *("b", inode(folder)),
        *(inode(folder), "c", inner),
        *("a", inode(folder)),
    ]


def make_old(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, text in OLD.items():
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize("old", [True, False])
def test_a_fault_at_any_moment_of_a_folder(old, calls, tmp_path):
    before = {"missing": True} if not old else OLD
    after = NEW if not old else OLD | NEW
    found = []
    for at in range(100):
        place = tmp_path / f"{at}"
        place.mkdir()
        folder = make_old(place) if old else place / "folder"
        calls.clear()
        calls.at = at, Fault()
        with contextlib.suppress(Fault):
            fill(folder)
        state = content(folder) if folder.exists() else {"missing": True}
        assert all(p.name != "new.tmp" for p in place.rglob("*"))
        assert list(place.iterdir()) in ([folder], [])
        found.append(state)
        if len(calls) <= at:
            break
        shutil.rmtree(place)
    assert found[0] == before
    assert found[-1] == after
    if not old:
        assert all(state in (before, after) for state in found)
    # Each file is the old or the new one, and they are replaced one after the other.
    for name, text in NEW.items():
        states = [state.get(name) for state in found]
        assert states == sorted(states, key=lambda s: s == text)
        assert set(states) == {before.get(name), text}


@pytest.mark.parametrize("old", [True, False])
def test_a_fault_while_a_folder_is_filled(old, calls, tmp_path):
    folder = make_old(tmp_path) if old else tmp_path / "folder"

    def write():
        with files.filling(folder) as temporary:
            (temporary / "a").write_text("half")
            raise Fault

    with pytest.raises(Fault):
        write()
    assert (content(folder) if folder.exists() else None) == (OLD if old else None)
    assert list(tmp_path.iterdir()) == [folder] * old
    assert calls == []


def test_a_folder_that_was_left_is_taken_over(tmp_path):
    (tmp_path / "folder.tmp").mkdir()
    (tmp_path / "folder.tmp" / "torn").write_text("x")
    fill(tmp_path / "folder")
    assert content(tmp_path) == {f"folder/{name}": text for name, text in NEW.items()}


def test_the_names_of_new_folders_are_synced(calls, tmp_path):
    files.make_folder(tmp_path / "a" / "b")
    assert calls == [
        ("fsync", "folder", inode(tmp_path)),
        ("fsync", "folder", inode(tmp_path / "a")),
    ]
    files.make_folder(tmp_path / "a" / "b")
    assert len(calls) == 2


# Lines


def test_lines_are_appended(calls, tmp_path):
    path = tmp_path / "lines"
    files.append_line(path, "one")
    assert calls == [
        ("fsync", "file", inode(path)),
        ("fsync", "folder", inode(tmp_path)),
    ]
    files.append_line(path, "two ±")
    assert calls[2:] == [("fsync", "file", inode(path))]
    assert path.read_bytes() == "one\ntwo ±\n".encode()


@pytest.mark.parametrize("torn", ["", "tw", "two"])
def test_a_torn_line_is_written_over(torn, tmp_path):
    path = tmp_path / "lines"
    path.write_bytes(b"one\n" + torn.encode())
    files.append_line(path, "three")
    assert path.read_bytes() == b"one\nthree\n"


def test_sha256(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    assert files.sha256(tmp_path / "file") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


def test_a_folder_has_one_writer(tmp_path):
    lock = FolderLock(tmp_path, "taken")
    with pytest.raises(BlockingIOError, match="taken"):
        FolderLock(tmp_path, "taken")
    script = f"""if True:
        from pathlib import Path
        from keras_kd.files import FolderLock
        FolderLock(Path({str(tmp_path)!r}), "taken by another process")
        """
    other = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert other.stderr.endswith("BlockingIOError: taken by another process\n")
    lock.release()
    lock.release()
    another = FolderLock(tmp_path, "taken")
    del another  # what nobody holds locks nothing
    FolderLock(tmp_path, "taken").release()
    assert not list(tmp_path.iterdir())


def test_a_forked_child_does_not_let_others_in(tmp_path):
    lock = FolderLock(tmp_path, "taken")
    if (child := os.fork()) == 0:
        lock.release()
        os._exit(0)
    os.waitpid(child, 0)
    with pytest.raises(BlockingIOError):
        FolderLock(tmp_path, "taken")
    lock.release()
