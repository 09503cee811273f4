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
