"""The arrays of a supervision cache: their names, their making, their reading."""

import errno
import os
import re
from pathlib import Path
from typing import TypeAlias

import numpy as np

from keras_kd.files import FULL_DISK, make_file, write_array
from keras_kd.teachers.cache.manifest import MANIFEST_NAME, CacheManifest, Spec
from keras_kd.teachers.cache.packing import Packing

KEYS_NAME = "keys.npy"
LABELS_NAME = "labels.npy"
BLOCKS_NAME = "blocks.npy"
BUILDING_NAME = "building.json"

# The way out of all damages.
AGAIN = "`SupervisionCache.build` with overwrite=True makes the cache anew."

# `{name: (shape, dtype)}`: of one example in the arrays of one stage, or of all files.
Arrays: TypeAlias = dict[str, tuple[tuple[int, ...], str]]

_NAME = re.compile(
    rf"({re.escape(MANIFEST_NAME)}|{BUILDING_NAME}|{KEYS_NAME}|{LABELS_NAME}|{BLOCKS_NAME}"
    r"|checkpoint-\d{4,}\.(output-\d+\.(logits|shift|classes|rest)|tap-\d+|done)\.npy)"
    r"(\.tmp)?"
)


def is_ours(path: Path) -> bool:
    """Whether it is a file, and no link, with a name that a cache gives."""
    regular = path.is_file() and not path.is_symlink()
    return regular and _NAME.fullmatch(path.name) is not None


def arrays_of(spec: Spec, packing: Packing) -> Arrays:
    """The arrays of one stage."""
    arrays: Arrays = {}
    for i, shape in enumerate(spec.logits):
        for part, (part_shape, dtype) in packing.parts(shape).items():
            arrays[f"output-{i}.{part}"] = (part_shape, dtype)
    for i, shape in enumerate(spec.taps.values()):
        arrays[f"tap-{i}"] = (shape, packing.dtype)
    return arrays


def arrays_in(manifest: CacheManifest) -> Arrays:
    """The array in each file of a cache, all examples of it, in the files' order."""
    n = manifest.n
    arrays: Arrays = {KEYS_NAME: ((n,), "uint64")}
    if manifest.labels is not None:
        arrays[LABELS_NAME] = ((n,), "int64")
    one = arrays_of(manifest.spec, manifest.packing)
    for stage in manifest.stages:
        for name, (shape, dtype) in one.items():
            arrays[file_name(stage.index, name)] = ((n, *shape), dtype)
    return arrays


def file_name(stage: int, array: str) -> str:
    """Of the file that holds an array of a stage."""
    return f"checkpoint-{stage:04d}.{array}.npy"


def done_name(stage: int) -> str:
    """Of the file that says which examples of a stage have been written."""
    return file_name(stage, "done")


def bytes_of(arrays: Arrays, n: int) -> int:
    """The disk that one stage's arrays take."""
    return sum(
        n * int(np.prod(shape)) * np.dtype(dtype).itemsize
        for shape, dtype in arrays.values()
    )


def allocate(path: Path, shape: tuple[int, ...], dtype: str) -> None:
    """Makes an array file of its full size.

    Raises:
        OSError: the disk is full. Then there is no such file.
    """
    # Nothing is written through a name that is there: it may be a link.
    path.unlink(missing_ok=True)
    make_file(path)
    try:
        array = np.lib.format.open_memmap(path, "w+", np.dtype(dtype), shape)
        del array
        if hasattr(os, "posix_fallocate"):
            # Blocks that are not there yet would be missed in the middle of a write to
            # mapped memory, which no program survives.
            with open(path, "r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    except OSError as error:
        path.unlink(missing_ok=True)
        if error.errno not in FULL_DISK:
            raise
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        raise full_disk(path.parent, size, None) from error


def map_array(path: Path, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """An array file, mapped into memory, which holds what it is to hold.

    The mapping stays with this file, whatever is put in its place later.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is a link or no such array; the message names it.
    """
    if path.is_symlink():
        raise ValueError(f"{path} must be a file of its own. Received: a link. {AGAIN}")
    try:
        with np.errstate(over="ignore"):
            array = np.lib.format.open_memmap(path, mode="r")
    except (ValueError, EOFError, OverflowError, SyntaxError, TypeError) as error:
        raise ValueError(
            f"{path} was altered: it cannot be read ({error!s:.200}). {AGAIN}"
        ) from error
    whole = array.offset + array.nbytes == path.stat().st_size
    if not whole or array.shape != shape or array.dtype != np.dtype(dtype):
        held = f"{array.dtype} {array.shape}" + ("" if whole else " and more bytes")
        raise ValueError(
            f"{path} was altered, or the manifest beside it: it must hold {dtype} "
            f"{shape}. Received: {held}. {AGAIN}"
        )
    return array


def full_disk(folder: Path, needed: int, free: int | None) -> OSError:
    """The error of a disk that is full, which says what can be done."""
    there = "" if free is None else f", and {gigabytes(free)} are free"
    return OSError(
        errno.ENOSPC,
        f"The disk of '{folder}' is too small for the supervision cache: "
        f"{gigabytes(needed)} are needed{there}. Free some, choose another `folder`, "
        "or store less: dtype='float16', top_k.",
    )


def gigabytes(size: int) -> str:
    """A number of bytes as people read it."""
    return f"{size / 1e9:.3g} GB" if size >= 1e8 else f"{size / 1e6:.3g} MB"


def save(path: Path, array: np.ndarray) -> None:
    """Writes a small array, whole or not at all.

    Raises:
        OSError: the disk is full.
    """
    try:
        write_array(path, array)
    except OSError as error:
        if error.errno not in FULL_DISK:
            raise
        raise full_disk(path.parent, array.nbytes, None) from error
