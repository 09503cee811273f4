"""Reads CIFAR-10 and CIFAR-100 as their authors distribute them."""

from pathlib import Path

import numpy as np

from keras_kd.datasets.array_pickle import read_array_pickle
from keras_kd.datasets.keras_cache import keras_cache
from keras_kd.datasets.raw import Raw

# Folder of the official "python version", its training and test files, and the labels.
_LAYOUTS = {
    "cifar10": (
        "cifar-10-batches-py",
        [f"data_batch_{i}" for i in range(1, 6)],
        "test_batch",
        b"labels",
    ),
    "cifar100": ("cifar-100-python", ["train"], "test", b"fine_labels"),
}


def read_cifar(name: str, folder: Path | None) -> Raw | None:
    """CIFAR-10 or CIFAR-100 from its official "python version".

    Args:
        name: "cifar10" or "cifar100", the latter with its 100 fine labels.
        folder: the unpacked archive or the folder it is in; by default Keras's cache.

    Returns:
        32x32 images from 0 to 255, or `None` if a file is missing.

    Raises:
        ValueError: a file is damaged, or holds something else.

    Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
    """
    inner, train, test, key = _LAYOUTS[name]
    folder = folder or keras_cache() / f"{inner}-target"
    if (folder / inner).is_dir():
        folder = folder / inner
    if not all((folder / file).exists() for file in [*train, test]):
        return None
    parts = [_read_batch(folder / file, key) for file in train]
    x_train, y_train = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return Raw(x_train, y_train, *_read_batch(folder / test, key))


def _read_batch(path: Path, key: bytes) -> tuple[np.ndarray, np.ndarray]:
    try:
        batch = read_array_pickle(path.read_bytes())
        images = batch[b"data"].reshape(-1, 3, 32, 32)
        labels = np.array(batch[key])
        if labels.dtype.kind != "i" or labels.shape != images.shape[:1]:
            raise ValueError(
                f"{len(images)} images have labels of shape {labels.shape} and dtype "
                f"{labels.dtype}"
            )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"'{path}' must be a file of CIFAR's \"python version\", images of "
            f"32x32x3 bytes and their labels. Received: {error}"
        ) from error
    return images.transpose(0, 2, 3, 1), labels
