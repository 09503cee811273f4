"""The file that a kernel is mapped from: made, opened and held."""

import contextlib
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from keras_kd.files import FULL_DISK, FolderLock


def check_out(out: object) -> None:
    """Refuses what a kernel cannot be written to, before it is computed.

    Raises:
        ValueError: it is no array and no path, or cannot be written.
    """
    if out is None:
        return
    if isinstance(out, np.ndarray):
        if not out.flags.writeable:
            raise _refusal("an array that can be written", "an array that is read-only")
        return
    if not isinstance(out, str | os.PathLike):
        expected = "a NumPy array, a memory-mapped one, or the path of a .npy file"
        raise _refusal(expected, f"out of type {type(out).__name__}")
    path = Path(os.fspath(out))
    said = f"out={str(path)!r}"
    if path.is_dir():
        raise _refusal("the path of a .npy file", f"{said}, a folder")
    if path.exists() and not path.is_file():
        raise _refusal("the path of a .npy file", f"{said}, which is no plain file")
    if not path.parent.is_dir():
        raise _refusal("in a folder that is there", said)
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise _refusal("a file that can be written", f"{said}, which is read-only")


def _refusal(expected: str, received: str) -> ValueError:
    return ValueError(f"`out` must be {expected}. Received: {received}")


def record_of(out: object) -> Path | None:
    """Where it is written down what an `out` holds; `None`: it cannot be gone on with.

    Only an array that is all that its file holds can: two slices of a larger one would
    have one record.
    """
    if isinstance(out, str | os.PathLike):
        return Path(f"{os.fspath(out)}.progress.json")
    if not isinstance(out, np.memmap) or out.filename is None or out.mode == "c":
        return None
    path = Path(out.filename)
    if not path.is_file() or path.stat().st_size != out.offset + out.nbytes:
        return None
    with path.open("rb") as file:
        head = file.read(out.offset)
    if head and not (head.startswith(b"\x93NUMPY") and head.endswith(b"\n")):
        return None
    return Path(f"{path}.progress.json")


def hold(path: Path) -> FolderLock:
    """Keeps others from writing the same file; an empty one is made if there is none.

    Raises:
        BlockingIOError: somebody else has it.
    """
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    return FolderLock(path, f"Another process writes a kernel to `out`: '{path}'.")


def make(path: Path, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """A new array file of its full size.

    Raises:
        OSError: the disk is full. Then the file is empty.
    """
    try:
        array = np.lib.format.open_memmap(path, "w+", dtype, shape)
        reserve(path)
    except OSError:
        with contextlib.suppress(OSError):
            os.truncate(path, 0)
        raise
    return array


def reserve(path: Path) -> None:
    """Gives a file all of its place on the disk.

    A block that is not there yet would be missed in the middle of a write to mapped
    memory, which no program survives.

    Raises:
        OSError: the disk is full.
    """
    if not hasattr(os, "posix_fallocate"):
        return
    size = path.stat().st_size
    try:
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        if error.errno not in FULL_DISK:
            # A file system that cannot say beforehand.
            return
        raise OSError(
            error.errno,
            f"The disk of '{path.parent}' is too small for the kernel: "
            f"{size / 1e9:.3g} GB are needed. Free some, or choose another `out`.",
        ) from error


def opened(path: Path, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """An array file that is there, which may have been cut off.

    Raises:
        ValueError: it is no `.npy` of this shape and dtype.
        OSError: the disk is too small for what was cut off.
    """
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            # Of the head alone: what it asks for is not made before it is compared.
            head = io.BytesIO(file.read(1 << 16))
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        found = read(head)
    except (ValueError, KeyError, EOFError, SyntaxError) as error:
        raise ValueError(
            f"`out` must be a whole .npy file. Received: out={str(path)!r}, the head "
            "of which is damaged. Delete it to begin anew."
        ) from error
    if found != (shape, False, np.dtype(dtype)):
        raise ValueError(
            f"`out` must have shape {shape} and dtype {np.dtype(dtype)}. Received: "
            f"out={str(path)!r} with shape {found[0]} and dtype {found[2]}"
        )
    array = np.lib.format.open_memmap(path, "r+")
    reserve(path)
    return array
