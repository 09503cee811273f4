"""Finds and decodes Tiny ImageNet as its archive unpacks."""

from collections.abc import Iterable, Mapping
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

    Raises:
        ValueError: there are no images, or the annotations are damaged.

    Source: Stanford CS231n, 2015, from ImageNet (Russakovsky et al., IJCV 2015).
    """
    if folder is None:
        return None
    if (folder / "tiny-imagenet-200").is_dir():
        folder = folder / "tiny-imagenet-200"
    annotations = folder / "val" / "val_annotations.txt"
    if not annotations.exists() or not (folder / "train").is_dir():
        return None
    classes = sorted(
        path.name for path in (folder / "train").iterdir() if path.is_dir()
    )
    train = [
        (path, label)
        for label, wnid in enumerate(classes)
        for path in sorted((folder / "train" / wnid / "images").glob("*.JPEG"))
    ]
    test = _annotated(annotations, {wnid: i for i, wnid in enumerate(classes)})
    if not train or not test:
        raise ValueError(
            f"'{folder}' must hold images, in `train` and in `val`. Received: "
            f"{len(train)} and {len(test)}"
        )
    arrays = []
    for examples in (train, test):
        paths, labels = zip(*examples, strict=True)
        arrays += [np.array(paths, object), np.array(labels)]
    return Raw(*arrays)


def _annotated(path: Path, classes: Mapping[str, int]) -> list[tuple[Path, int]]:
    """The validation images and their labels.

    Raises:
        ValueError: a line names no class, or a file elsewhere.
    """
    images = path.parent / "images"
    found = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        file, wnid = [*line.split("\t"), ""][:2]
        elsewhere = Path(file).name != file or file in ("", "..")
        if wnid not in classes or elsewhere:
            raise ValueError(
                f"'{path}' must have the name of a file of '{images}' and one of the "
                f"{len(classes)} classes in each line. Received: line {number}, "
                f"{line[:80]!r}"
            )
        found.append((images / file, classes[wnid]))
    return found


def read_images(paths: Iterable[Path]) -> np.ndarray:
    """Decodes images of one size, `(n, height, width, 3)` uint8; gray ones in colour.

    Raises:
        ImportError: Pillow is not installed.
        ValueError: a file is no image of 64x64.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            "Reading JPEG files needs Pillow. Install it: `pip install pillow`."
        ) from error
    images = []
    for path in paths:
        try:
            with Image.open(path) as image:
                # Its header says it, before anything is decoded.
                if image.size != (64, 64):
                    raise ValueError("{}x{}".format(*image.size))
                images.append(np.asarray(image.convert("RGB")))
        except (OSError, ValueError) as error:
            raise ValueError(
                f"'{path}' must be a JPEG image of 64x64. Received: {error}"
            ) from error
    return np.stack(images)
