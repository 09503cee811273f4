import gzip
import struct

import numpy as np
import pytest


def idx_bytes(array):
    """The IDX format, from its description by LeCun."""
    header = struct.pack(">HBB", 0, 0x08, array.ndim)
    return header + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture
def idx_folder(tmp_path):
    """A folder with the four files of a small data set, and its arrays."""

    def write(folder=tmp_path / "idx", gzipped=True, examples=(40, 20)):
        folder.mkdir(parents=True, exist_ok=True)
        generator = np.random.default_rng(1)
        arrays = []
        for part, n in zip(("train", "t10k"), examples, strict=True):
            images = generator.integers(0, 256, (n, 28, 28), np.uint8)
            labels = (np.arange(n) % 10).astype(np.uint8)
            arrays += [images, labels]
            for array, kind in ((images, "images-idx3"), (labels, "labels-idx1")):
                content = idx_bytes(array)
                name = f"{part}-{kind}-ubyte"
                if gzipped:
                    (folder / f"{name}.gz").write_bytes(gzip.compress(content))
                else:
                    (folder / name).write_bytes(content)
        return folder, arrays

    return write


@pytest.fixture(autouse=True)
def no_cache(tmp_path, monkeypatch):
    """Whatever lies in the caches of this machine has no say."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    return tmp_path / "keras"
