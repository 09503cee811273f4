"""Finds and decodes Tiny ImageNet as its archive unpacks."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from keras_kd.datasets.raw import Raw


def find_tiny_imagenet(folder: Path | None) -> Raw | None:
    """Finds the 200 classes of 64x64 images of Tiny ImageNet, as unpacked.

    The validation images serve as test images; the official test images have no labels.

    Args:
        folder: `tiny-imagenet-200` or the folder it is in.

    Returns:
        Paths in place of images (see `read_images`), with their labels, or `None` if
        there are no such files.

    Source: Stanford CS231n, 2015, from ImageNet (Russakovsky et al., IJCV 2015).
    """
    if folder is None:
        return None
    if (folder / "tiny-imagenet-200").is_dir():
        folder = folder / "tiny-imagenet-200"
    annotations = folder / "val" / "val_annotations.txt"
    if not annotations.exists() or not (folder / "train").is_dir():
        return None
    classes = sorted(path.name for path in (folder / "train").iterdir())
    train = [
        (path, label)
        for label, wnid in enumerate(classes)
        for path in sorted((folder / "train" / wnid / "images").glob("*.JPEG"))
    ]
    test = []
    for line in annotations.read_text().splitlines():
        file, wnid = line.split("\t")[:2]
        test.append((folder / "val" / "images" / file, classes.index(wnid)))
    arrays = []
    for examples in (train, test):
        paths, labels = zip(*examples, strict=True)
        arrays += [np.array(paths, object), np.array(labels)]
    return Raw(*arrays)


def read_images(paths: Iterable[Path]) -> np.ndarray:
    """Decodes images of one size, `(n, height, width, 3)` uint8; gray ones in colour.

    Raises:
        ImportError: Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            "Reading JPEG files needs Pillow. Install it: `pip install pillow`."
        ) from error
    images = []
    for path in paths:
        with Image.open(path) as image:
            images.append(np.asarray(image.convert("RGB")))
    return np.stack(images)
