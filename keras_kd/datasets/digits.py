"""Reads the handwritten digits that come with the package."""

from importlib import resources

import numpy as np

from keras_kd.datasets.raw import Raw


def read_digits() -> Raw:
    """The 1,797 handwritten digits of scikit-learn, 8x8 pixels from 0 to 16.

    1,297 are for training and 500, fifty of each class, for testing; which is which is
    stored with them.

    Source: E. Alpaydin & C. Kaynak, "Optical Recognition of Handwritten Digits", UCI
    Machine Learning Repository, 1998, licence CC BY 4.0: the test set, as in
    `sklearn.datasets.load_digits`.
    """
    file = resources.files("keras_kd.datasets") / "digits.npz"
    with file.open("rb") as stream, np.load(stream) as arrays:
        images, labels, test = (arrays[k] for k in ("images", "labels", "test"))
    return Raw(images[~test], labels[~test], images[test], labels[test])
