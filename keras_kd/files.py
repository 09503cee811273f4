"""One way to put a file in place: whole or not at all, and durable."""

import os
from pathlib import Path


def put_in_place(temporary: Path, path: Path) -> None:
    """Renames a finished file so that a crash leaves the old one or the new one."""
    # Without the first sync the name may reach the disk before the content does.
    _sync(temporary)
    os.replace(temporary, path)
    if os.name == "posix":  # elsewhere a directory cannot be opened
        _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
