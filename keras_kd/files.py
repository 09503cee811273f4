"""One way to put files and folders in place: whole or not at all, and durable.

What is to be at a path is written beside it, under another name, brought to the disk
(`fsync`) and then renamed, and the folder that holds the name is brought to the disk,
too. Whatever ends the program or the machine, the path then has its old content or its
new one, and what is written next can rely on it. A crash can leave the temporary
besides; the next writing takes it over. What waits under a name that is written to, a
link above all, is not written through.
"""

import contextlib
import errno
import hashlib
import json
import math
import os
import shutil
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

# Keras and Matplotlib tell by them how to write.
_ENDINGS = (".weights.h5", ".keras", ".png")
FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""No room, no room of this user's, or a file that may not grow."""

# Windows has no such flag, and asks for it here.
_ITSELF = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path to write to, and puts what is there in place of `path`.

    Args:
        path: of a file, there or not. Behind a link, what it points to is replaced.

    Raises:
        OSError: the disk is full; the message names `path`, which is as it was.

    Example:

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "model.weights.h5"
    >>> with replacing(path) as temporary:
    ...     print(temporary.name)
    ...     length = temporary.write_bytes(b"weights")
    model.tmp.weights.h5
    >>> path.read_bytes()
    b'weights'
    """
    path = path.resolve()
    if path.exists() and not (path.is_file() or path.is_dir()):
        # A pipe or a device takes what comes.
        yield path
        return
    temporary = _temporary(path)
    # A crash may have left it; a link there would lead elsewhere.
    temporary.unlink(missing_ok=True)
    try:
        with _full_disk_of(path):
            with _own_file(temporary):
                yield temporary
            # Without it the name may reach the disk before the content does.
            sync(temporary)
            os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)


@contextlib.contextmanager
def _full_disk_of(path: Path) -> Iterator[None]:
    """Has the error of a full disk say what was to be written."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL_DISK:
            raise
        raise OSError(
            error.errno,
            f"'{path}' cannot be written: {os.strerror(error.errno)}. What was there "
            "is as it was; free some of the disk, and do the same again.",
        ) from error


@contextlib.contextmanager
def filling(folder: Path) -> Iterator[Path]:
    """Yields an empty folder for files that belong together, and puts them in place.

    A `folder` that is not there yet appears whole. In one that is there, once all files
    are on the disk, each is replaced whole, in the order in which they were written;
    what else it holds stays. Where writing fails, nothing has changed.

    Args:
        folder: where the files are to be; its parents are made.

    Raises:
        OSError: the disk is full; the message names `folder`, which is as it was.
    """
    folder = folder.resolve()
    # Inside, where that can be: it may be on another disk than its parent.
    temporary = folder / "new.tmp" if folder.exists() else _temporary(folder)
    if temporary.is_symlink() or temporary.is_file():
        temporary.unlink()
    shutil.rmtree(temporary, ignore_errors=True)
    make_folder(temporary.parent)
    try:
        with _full_disk_of(folder):
            temporary.mkdir()
            yield temporary
            found = list(temporary.rglob("*"))
            for path in (*found, temporary):
                sync(path)
        if temporary.parent == folder:
            for path in sorted(found, key=lambda p: p.stat().st_mtime_ns):
                if path.is_file():
                    place = folder / path.relative_to(temporary)
                    make_folder(place.parent)
                    os.replace(path, place)
                    sync(place.parent)
        else:
            os.replace(temporary, folder)
            sync(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Writes a text, in UTF-8, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(
    path: Path,
    content: Any,
    *,
    indent: int | None = 1,
    default: Callable[[Any], Any] | None = None,
) -> None:
    """Writes a content as JSON, whole or not at all.

    Args:
        path: of the file.
        content: what is written.
        indent: spaces a level; `None` for one line.
        default: says what stands for something that JSON does not have.
    """
    write_text(path, json.dumps(content, indent=indent, default=default))


def read_json(path: Path) -> Any:
    """What a JSON file holds, and nothing that JSON does not have.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is no JSON, or has a key twice, a number that is not finite, or
            more than 200 levels.
    """
    return parse_json(path.read_text(encoding="utf-8"))


def parse_json(text: str) -> Any:
    """What a JSON text holds: `read_json` of a text.

    Raises:
        ValueError: as there.
    """
    try:
        content = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_finite,
            parse_float=_finite,
        )
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    level = [content]
    for _ in range(200):
        level = [
            child
            for node in level
            if isinstance(node, dict | list)
            for child in (node.values() if isinstance(node, dict) else node)
        ]
        if not level:
            return content
    raise ValueError("it is nested too deeply")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"it has the key {twice!r:.80} twice")
    return content


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"it has the number {text:.80}, which is not finite")
    return number


def write_array(path: Path, array: "np.ndarray") -> None:
    """Writes an `.npy`, whole or not at all."""
    # Help is shown without waiting for it.
    import numpy as np

    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, array)


def json_sha256(content: Any) -> str:
    """The SHA-256 of what JSON holds, in whatever order, hexadecimal."""
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def append_line(path: Path, line: str) -> None:
    """Adds a line to a text, on the disk when this returns.

    What a crash left of a line is written over.

    Args:
        path: of the file, there or not.
        line: without its end.

    Raises:
        ValueError: `path` is a link.
        OSError: the disk is full; the message names `path`.
    """
    is_new = not path.exists()
    try:
        descriptor = os.open(
            path, os.O_RDWR | os.O_CREAT | os.O_APPEND | _ITSELF, 0o666
        )
    except OSError as error:
        if not path.is_symlink():
            raise
        raise ValueError(
            f"'{path}' must be a file of its own. Received: a link."
        ) from error
    with _full_disk_of(path), open(descriptor, "r+b") as lines:
        lines.truncate(lines.read().rfind(b"\n") + 1)
        lines.write(line.encode() + b"\n")
        lines.flush()
        os.fsync(lines.fileno())
    if is_new:
        sync(path.parent)


def make_file(path: Path) -> None:
    """Makes an empty file, of its own: what lies under that name is not opened.

    Raises:
        FileExistsError: something lies there.
    """
    with _own_file(path):
        pass


@contextlib.contextmanager
def _own_file(path: Path) -> Iterator[None]:
    """Makes an empty file, and refuses one that was put in its place meanwhile."""
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | _ITSELF
    # Held open, so that no other file is given its number.
    descriptor = os.open(path, flags, 0o666)
    try:
        yield
        if not os.path.samestat(os.fstat(descriptor), path.lstat()):
            raise OSError(f"'{path}' was exchanged while it was written.")
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Removes a file for good; one that is not there is no error."""
    if path.exists() or path.is_symlink():
        path.unlink()
        sync(path.parent)


def is_name(text: str) -> bool:
    """Whether a text is a file's name, and leads to no other folder."""
    return text not in ("", ".", "..") and all(
        c.isprintable() and c not in "/\\:" for c in text
    )


def check_name(name: object, file: Path) -> str:
    """`name`, which `file` gave, as that of something beside it.

    Args:
        name: what was read.
        file: where it was read, for the message.

    Raises:
        ValueError: it leads elsewhere (a separator, `..`), or is no name.
    """
    if not isinstance(name, str) or not is_name(name):
        raise ValueError(
            f"{file} must hold names without a folder. Received: {name!r:.80}"
        )
    return name


def make_folder(folder: Path) -> None:
    """Makes a folder, and those that it is in, unless they are there."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in reversed(missing):
        sync(path.parent)


class FolderLock:
    """Keeps other writers, of this process or another, out of a folder.

    It lies on the folder itself: there is no file that could be left behind, and where
    the process ends, however it does, the lock is gone. Windows has no such locks, and
    some network disks do not either: there everybody gets it.

    Args:
        folder: which is there.
        busy: what is said where somebody else has it.

    Raises:
        BlockingIOError: somebody else has it.

    Example:

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> lock = FolderLock(folder, "Somebody writes here.")
    >>> FolderLock(folder, "Somebody writes here.")
    Traceback (most recent call last):
        ...
    BlockingIOError: Somebody writes here.
    >>> lock.release()
    """

    def __init__(self, folder: Path, busy: str) -> None:
        self.release: Callable[[], object] = lambda: None
        """Lets others in; a second time it does nothing."""
        try:
            import fcntl
        except ImportError:
            return
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise BlockingIOError(busy) from None
        except OSError:
            os.close(descriptor)
            return
        self.release = weakref.finalize(self, _unlock, descriptor, os.getpid())


def _unlock(descriptor: int, owner: int) -> None:
    import fcntl

    # A forked child has the descriptor too; what it drops is not its own.
    if os.getpid() == owner:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def sync(path: Path) -> None:
    """Brings a file, or the names that a folder holds, to the disk."""
    is_folder = path.is_dir()
    if is_folder and os.name != "posix":  # where a folder cannot be opened
        return
    descriptor = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    """The SHA-256 of a file's content, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _temporary(path: Path) -> Path:
    """`name.tmp`, or `name.tmp.ending` where the ending says how to write."""
    ending = next((e for e in _ENDINGS if path.name.endswith(e)), "")
    return path.with_name(f"{path.name.removesuffix(ending)}.tmp{ending}")
