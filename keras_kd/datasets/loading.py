"""`load`: finds a data set by its name, takes a subset and scales the pixels."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_kd.arguments import (
    check_choice,
    check_integer,
    check_integer_or_none,
    check_path,
)
from keras_kd.datasets.cifar import read_cifar
from keras_kd.datasets.dataset import Dataset
from keras_kd.datasets.digits import read_digits
from keras_kd.datasets.keras_cache import keras_cache
from keras_kd.datasets.mnist import (
    fashion_mnist_places,
    read_fashion_mnist,
    read_mnist,
)
from keras_kd.datasets.overlay import overlay_pairs
from keras_kd.datasets.raw import Raw, check_raw
from keras_kd.datasets.subset import balanced_subset
from keras_kd.datasets.tiny_imagenet import find_tiny_imagenet, read_images

_CLASSES = {
    "digits": 10,
    "digits_overlay": 55,
    "mnist": 10,
    "fashion_mnist": 10,
    "binary_fashion_mnist": 2,
    "fashion_overlay": 55,
    "cifar10": 10,
    "cifar100": 100,
    "binary_cifar100": 2,
    "tiny_imagenet": 200,
}
_MADE_OF = {
    "digits_overlay": "digits",
    "binary_fashion_mnist": "fashion_mnist",
    "fashion_overlay": "fashion_mnist",
    "binary_cifar100": "cifar100",
}


class _Overlay(NamedTuple):
    shift: int  # pixels
    n_train: int
    n_test: int


_OVERLAYS = {
    "digits_overlay": _Overlay(2, 5_000, 5_000),
    "fashion_overlay": _Overlay(4, 60_000, 10_000),
}


def load(
    name: str,
    folder: str | os.PathLike[str] | None = None,
    n_train: int | None = None,
    n_test: int | None = None,
    seed: int = 0,
) -> Dataset:
    """Loads images and labels as NumPy arrays.

    | name | images | classes | found in |
    |---|---|---|---|
    | `digits` | 8x8x1 | 10 | this package: scikit-learn's, 1,297 and 500 |
    | `digits_overlay` | 12x12x1 | 55 | made from `digits` |
    | `mnist` | 28x28x1 | 10 | Keras's cache, TFDS |
    | `fashion_mnist` | 28x28x1 | 10 | Keras's cache, Debian's package, TFDS |
    | `binary_fashion_mnist` | 28x28x1 | 2 | `fashion_mnist` |
    | `fashion_overlay` | 36x36x1 | 55 | made from `fashion_mnist` |
    | `cifar10` | 32x32x3 | 10 | Keras's cache, TFDS |
    | `cifar100` | 32x32x3 | 100 | Keras's cache, TFDS |
    | `binary_cifar100` | 32x32x3 | 2 | `cifar100` |
    | `tiny_imagenet` | 64x64x3 | 200 | `folder` only |

    A `folder` is asked first, in place of Keras's cache and Debian's package. What is
    found nowhere is downloaded by TensorFlow Datasets (TFDS), if that is installed; to
    prepare the files once, TFDS may import TensorFlow, also where Keras runs on JAX or
    torch.

    In `fashion_overlay` each image is two garments, and in `digits_overlay` two digits,
    laid over each other at random offsets as in MultiMNIST, and its class one of the 55
    unordered pairs of their classes; training images are made of training images, test
    images of test images. There are as many as `n_train` and `n_test` say, unless given
    60,000 and 10,000 of garments, 5,000 and 5,000 of digits. In `binary_cifar100` the
    class is 0 for the labels 0 to 49 of CIFAR-100 and 1 for the others, in
    `binary_fashion_mnist` for those 0 to 4 of Fashion-MNIST and 1 for the others.

    Args:
        name: see above.
        folder: where the files lie: IDX files (`mnist`, and all of
            `fashion_mnist`), the unpacked "python version" (CIFAR), the unpacked
            `tiny-imagenet-200`, or else the `data_dir` of TFDS.
        n_train: how many training images, chosen at random, as many of each class as
            can be; by default all.
        n_test: likewise of the test images.
        seed: decides what is chosen and how images are overlaid.

    Returns:
        `Dataset`: images `(n, height, width, channels)`, float32, scaled to [0, 1] by
        the largest value that a pixel can have, and labels `(n,)`, int32.

    Raises:
        ValueError: the name is unknown, a size is too large, or a file is damaged.
        FileNotFoundError: there are no files and none can be downloaded; the message
            says what to install or where to put them.

    Example:

    ```python
    data = keras_kd.datasets.load("digits")
    model.fit(data.x_train, data.y_train)
    model.evaluate(data.x_test, data.y_test)
    ```
    """
    names = ", ".join(map(repr, _CLASSES))
    check_choice("name", name, _CLASSES, expected=f"one of {names}")
    seed = check_integer("seed", seed, at_least=0)
    folder = None if folder is None else check_path("folder", folder).expanduser()
    if folder is not None and not folder.is_dir():
        raise FileNotFoundError(
            f"`folder` must be an existing folder. Received: folder='{folder}'"
        )
    source = _MADE_OF.get(name, name)
    raw = _read(source, folder)
    if source != "tiny_imagenet":  # whose images are decoded once they are chosen
        check_raw(raw, source, _CLASSES[source])
    if name.startswith("binary_"):
        half = _CLASSES[source] // 2
        raw = raw._replace(y_train=raw.y_train >= half, y_test=raw.y_test >= half)
    if name in _OVERLAYS:
        raw = _overlay(raw, _OVERLAYS[name], n_train, n_test, seed)
    else:
        raw = _choose(raw, n_train, n_test, seed)
    if source == "tiny_imagenet":
        raw = raw._replace(
            x_train=read_images(raw.x_train), x_test=read_images(raw.x_test)
        )
        check_raw(raw, source, _CLASSES[source])
    largest = 16 if source == "digits" else 255
    return Dataset(
        name,
        _scaled(raw.x_train, largest),
        raw.y_train.astype("int32"),
        _scaled(raw.x_test, largest),
        raw.y_test.astype("int32"),
        _CLASSES[name],
    )


def _read(name: str, folder: Path | None) -> Raw:
    match name:
        case "digits":
            return read_digits()
        case "mnist":
            return read_mnist(folder) or _read_tfds(name, folder)
        case "fashion_mnist":
            return read_fashion_mnist(folder) or _read_tfds(name, folder)
        case "cifar10" | "cifar100":
            return read_cifar(name, folder) or _read_tfds(name, folder)
    found = find_tiny_imagenet(folder)
    if found is None:
        raise FileNotFoundError(
            "Tiny ImageNet was not found. Unpack its archive, tiny-imagenet-200.zip of "
            "Stanford's course CS231n, and pass the folder `tiny-imagenet-200` as "
            f"`folder`. Received: folder={folder}"
        )
    return found


def _read_tfds(name: str, folder: Path | None) -> Raw:
    # Imported when needed: it takes a second.
    from keras_kd.datasets.tfds import downloads, read_tfds

    try:
        return read_tfds(name, folder)
    except ImportError as error:
        reason, by_hand = f"TensorFlow Datasets is not complete: {error}.", ""
        cause: Exception = error
    except Exception as error:
        place, files = downloads(name, folder)
        reason = f"TensorFlow Datasets could not fetch it: {error}."
        by_hand = f"put {', '.join(files)} into '{place}', or "
        cause = error
    ways = {
        "mnist": "pass a `folder` with its four IDX files",
        "fashion_mnist": "pass a `folder` with its four IDX files, or install Debian's "
        "package dataset-fashion-mnist",
        "cifar10": "pass a `folder` with the unpacked cifar-10-python.tar.gz",
        "cifar100": "pass a `folder` with the unpacked cifar-100-python.tar.gz",
    }
    places = [folder] if folder else [keras_cache()]
    if name == "fashion_mnist" and not folder:
        places = fashion_mnist_places()
    looked = " and ".join(f"'{place}'" for place in places)
    raise FileNotFoundError(
        f"The data set {name} was not found in {looked}. {reason} With a network, "
        f"`pip install keras-kd[datasets] tensorflow` is enough; without, {by_hand}"
        f"{ways[name]}."
    ) from cause


def _choose(raw: Raw, n_train: int | None, n_test: int | None, seed: int) -> Raw:
    train = balanced_subset(raw.y_train, n_train, seed, "n_train")
    test = balanced_subset(raw.y_test, n_test, seed, "n_test")
    return Raw(
        raw.x_train[train], raw.y_train[train], raw.x_test[test], raw.y_test[test]
    )


def _overlay(
    raw: Raw, overlay: _Overlay, n_train: int | None, n_test: int | None, seed: int
) -> Raw:
    sizes = {"n_train": n_train, "n_test": n_test}
    for argument, size in sizes.items():
        check_integer_or_none(argument, size, above=0, expected="> 0")
    images = [image.reshape(image.shape[:3]) for image in (raw.x_train, raw.x_test)]
    shift, of_train, of_test = overlay
    return Raw(
        *overlay_pairs(images[0], raw.y_train, n_train or of_train, [seed, 0], shift),
        *overlay_pairs(images[1], raw.y_test, n_test or of_test, [seed, 1], shift),
    )


def _scaled(images: np.ndarray, largest: int) -> np.ndarray:
    if images.ndim == 3:
        images = images[..., np.newaxis]
    scaled: np.ndarray = np.divide(images, largest, dtype="float32")
    return scaled
