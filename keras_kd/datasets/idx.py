"""Reads IDX files, the format of MNIST."""

import gzip
import math
from pathlib import Path

import numpy as np

_UNSIGNED_BYTES = b"\x00\x00\x08"


def read_idx(path: Path) -> np.ndarray:
    """Reads an IDX file of bytes, the format of MNIST, gzipped if it ends in ".gz".

    Raises:
        ValueError: the file is not one, or is cut short.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read()
    except (gzip.BadGzipFile, EOFError) as error:
        raise ValueError(f"'{path}' is not a whole gzip file: {error}") from error
    if content[:3] != _UNSIGNED_BYTES or len(content) < 4:
        raise ValueError(f"'{path}' is not an IDX file of bytes.")
    dimensions = content[3]
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise ValueError(f"'{path}' is cut short within its header.")
    shape = tuple(np.frombuffer(content[4:start], ">u4").tolist())
    if math.prod(shape) != len(content) - start:
        raise ValueError(
            f"'{path}' must hold {math.prod(shape)} bytes, shape {shape}, after its "
            f"header. Received: {len(content) - start} bytes."
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
