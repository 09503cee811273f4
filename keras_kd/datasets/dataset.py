"""What `load` gives: images and labels for training and test."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and labels, ready for `fit` and `evaluate`.

    Attributes:
        name: as given to `load`.
        x_train: `(n, height, width, channels)` float32 in [0, 1].
        y_train: `(n,)` int32 in `range(classes)`.
        x_test: as `x_train`.
        y_test: as `y_train`.
        classes: how many classes there are.
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    classes: int

    def __repr__(self) -> str:
        # Without the arrays, which fill pages.
        return (
            f"<Dataset '{self.name}': {len(self.x_train)} images for training, "
            f"{len(self.x_test)} for test, of shape {self.input_shape}, "
            f"{self.classes} classes>"
        )

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """`(height, width, channels)`, as the models take it."""
        return self.x_train.shape[1:]
