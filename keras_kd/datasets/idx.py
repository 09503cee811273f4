"""Reads IDX files, the format of MNIST."""

import gzip
import math
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

_UNSIGNED_BYTES = b"\x00\x00\x08"

# Twenty times as many bytes as MNIST's 60,000 images.
_LARGEST = 2**30
_MOST_DIMENSIONS = 4


def read_idx(path: Path) -> np.ndarray:
    """Reads an IDX file of bytes, the format of MNIST, gzipped if it ends in ".gz".

    Raises:
        ValueError: the file is not one, or is cut short.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            return _read(file, path)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise ValueError(f"'{path}' is not a whole gzip file: {error}") from error


def _read(file: BinaryIO | gzip.GzipFile, path: Path) -> np.ndarray:
    """The header first, and then no more than it announces: a few bytes inflate to any
    number of them."""
    start = file.read(4)
    if start[:3] != _UNSIGNED_BYTES or len(start) < 4:
        raise ValueError(f"'{path}' is not an IDX file of bytes.")
    dimensions = start[3]
    header = file.read(4 * dimensions)
    if len(header) < 4 * dimensions:
        raise ValueError(f"'{path}' is cut short within its header.")
    shape = tuple(np.frombuffer(header, ">u4").tolist())
    size = math.prod(shape)
    if size > _LARGEST or dimensions > _MOST_DIMENSIONS:
        raise ValueError(
            f"'{path}' must hold images or labels, at most {_LARGEST} bytes of them. "
            f"Received: shape {shape}"
        )
    content = file.read(size)
    more = file.read(1)
    if len(content) != size or more:
        received = "more" if more else f"{len(content)} bytes"
        raise ValueError(
            f"'{path}' must hold {size} bytes, shape {shape}, after its header. "
            f"Received: {received}."
        )
    return np.frombuffer(content, np.uint8).reshape(shape)
