"""Reads MNIST and Fashion-MNIST from local IDX files."""

import zipfile
from pathlib import Path

import numpy as np

from keras_kd.datasets.idx import read_idx
from keras_kd.datasets.keras_cache import keras_cache
from keras_kd.datasets.raw import Raw

_FILES = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}
DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")


def read_mnist(folder: Path | None) -> Raw | None:
    """MNIST from IDX files in `folder`, or from Keras's cache.

    Source: LeCun, Bottou, Bengio & Haffner, Proceedings of the IEEE 1998.

    Returns:
        28x28 images from 0 to 255, or `None` if there are no files.

    Raises:
        ValueError: a file is damaged, or images and labels do not match.
    """
    if folder is not None:
        return read_idx_folder(folder)
    path = keras_cache() / "mnist.npz"
    if not path.exists():
        return None
    try:
        with np.load(path) as arrays:
            return Raw(**{field: arrays[field] for field in _FILES})
    except (ValueError, KeyError, EOFError, MemoryError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"'{path}' must be Keras's file of MNIST, with the arrays "
            f"{', '.join(_FILES)}. Delete it to have it fetched anew. Received: {error}"
        ) from error


def read_fashion_mnist(folder: Path | None) -> Raw | None:
    """Fashion-MNIST from IDX files in `folder`, Keras's cache or Debian's package.

    Source: Xiao, Rasul & Vollgraf, arXiv:1708.07747, licence MIT.

    Returns:
        28x28 images from 0 to 255, or `None` if there are no files.
    """
    places = [folder] if folder else fashion_mnist_places()
    return next((raw for place in places if (raw := read_idx_folder(place))), None)


def fashion_mnist_places() -> list[Path]:
    """Where Fashion-MNIST is looked for when no folder is given."""
    return [keras_cache() / "fashion-mnist", DEBIAN_FASHION_MNIST]


def read_idx_folder(folder: Path) -> Raw | None:
    """The four files of MNIST or its kin, gzipped or not.

    Returns:
        The arrays, or `None` if a file is missing.

    Raises:
        ValueError: a file is damaged, or images and labels do not match.
    """
    paths = {}
    for field, name in _FILES.items():
        candidates = [folder / name, folder / f"{name}.gz"]
        path = next((p for p in candidates if p.exists()), None)
        if path is None:
            return None
        paths[field] = path
    raw = Raw(**{field: read_idx(path) for field, path in paths.items()})
    for part in ("train", "test"):
        images, labels = (getattr(raw, f"{axis}_{part}") for axis in "xy")
        if images.ndim != 3 or labels.shape != images.shape[:1]:
            raise ValueError(
                f"'{paths[f'x_{part}']}' must hold one image for each label of "
                f"'{paths[f'y_{part}']}'. Received: shapes {images.shape} and "
                f"{labels.shape}."
            )
    return raw
