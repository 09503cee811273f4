"""What every reader gives: images and labels as they are stored."""

from typing import NamedTuple

import numpy as np


class Raw(NamedTuple):
    """`(n, height, width)` or `(n, height, width, channels)` images, uint8, and
    `(n,)` labels."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


def check_raw(raw: Raw, name: str, classes: int) -> None:
    """Refuses what no reader should have given.

    Args:
        raw: what has been read, with images that are decoded.
        name: of the data set.
        classes: how many it has.

    Raises:
        ValueError: names the data set and what is wrong with it.
    """
    for part in ("train", "test"):
        images, labels = getattr(raw, f"x_{part}"), getattr(raw, f"y_{part}")
        _check_part(images, labels, f"The {part} images of '{name}'", classes)
    if raw.x_train.shape[1:] != raw.x_test.shape[1:]:
        raise ValueError(
            f"The images of '{name}' must be of one shape. Received: "
            f"{raw.x_train.shape[1:]} to train, {raw.x_test.shape[1:]} to test"
        )


def _check_part(
    images: np.ndarray, labels: np.ndarray, what: str, classes: int
) -> None:
    if images.ndim not in (3, 4) or images.size == 0:
        raise ValueError(
            f"{what} must be an array (n, height, width) or (n, height, width, "
            f"channels), n > 0. Received: shape {images.shape}"
        )
    if labels.shape != images.shape[:1] or labels.dtype.kind not in "bui":
        raise ValueError(
            f"{what} must have an integer label each. Received: {len(images)} images, "
            f"labels of shape {labels.shape} and dtype {labels.dtype}"
        )
    outside = np.unique(labels[(labels < 0) | (labels >= classes)])
    if outside.size:
        raise ValueError(
            f"{what} must have labels from 0 to {classes - 1}. Received: "
            f"{', '.join(map(str, outside[:5].tolist()))}"
        )
    if not np.isfinite(images).all():
        raise ValueError(f"{what} must be finite. Received: NaN or infinity")
