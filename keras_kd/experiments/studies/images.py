"""The images of a study: for training, for choosing, for the test."""

import dataclasses
from pathlib import Path
from typing import Self

import keras
import numpy as np

from keras_kd import datasets
from keras_kd.datasets import Batches, Dataset, wrong_labels
from keras_kd.experiments.studies.cell import Data


@dataclasses.dataclass(frozen=True, eq=False)
class Images:
    """What a study trains, chooses and tests with.

    Attributes:
        dataset: training and test images; training labels as noisy as `Data` says.
        validation: images and labels that nobody trains on, as noisy; `None` if there
            are none.
        crop_and_flip: whether `batches` augments.
        passes: how often each image is in an epoch of `batches`.
    """

    dataset: Dataset
    validation: tuple[np.ndarray, np.ndarray] | None
    crop_and_flip: bool
    passes: int = 1

    @classmethod
    def load(cls, data: Data, folder: str | Path | None = None) -> Self:
        """Loads what `data` says, the same in every run."""
        n = None if data.n_train is None else data.n_train + data.n_validation
        try:
            dataset = datasets.load(
                data.name, folder=folder, n_train=n, n_test=data.n_test
            )
        except ValueError as error:
            if n is None or "`n_train`" not in str(error):
                raise
            raise ValueError(
                f"{error} That is n_train={data.n_train} and "
                f"n_validation={data.n_validation} together."
            ) from None
        x, y = dataset.x_train, dataset.y_train
        if data.n_validation >= len(x):
            raise ValueError(
                f"`n_validation` must be < {len(x)}, the images there are. Received: "
                f"n_validation={data.n_validation}"
            )
        if data.label_noise:
            # Not the seed of the split, or those that are held would be the wrong ones.
            y = wrong_labels(y, data.label_noise, seed=1)
        order = np.random.default_rng(0).permutation(len(x))
        held, train = np.split(order, [data.n_validation])
        return cls(
            dataclasses.replace(dataset, x_train=x[train], y_train=y[train]),
            (x[held], y[held]) if data.n_validation else None,
            data.crop_and_flip,
            data.passes,
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """`(height, width, channels)`."""
        return self.dataset.input_shape

    @property
    def classes(self) -> int:
        return self.dataset.classes

    def batches(self, batch_size: int, seed: int) -> Batches:
        """The training images in the order, and with the augmentation, of `seed`."""
        augment = None
        if self.crop_and_flip:
            augment = keras.Sequential(
                [
                    keras.layers.RandomFlip("horizontal"),
                    # Up to 4 of 32 pixels, as CIFAR is usually padded and cropped.
                    keras.layers.RandomTranslation(
                        1 / 8, 1 / 8, fill_mode="constant", interpolation="nearest"
                    ),
                ]
            )
        x, y = self.dataset.x_train, self.dataset.y_train
        if self.passes > 1:
            x, y = (np.concatenate([array] * self.passes) for array in (x, y))
        return Batches(
            x,
            y,
            batch_size=batch_size,
            seed=seed,
            augment=augment,
        )

    def looked_at(self) -> tuple[np.ndarray, np.ndarray]:
        """All images of which a student in training asks its teacher, and labels."""
        x, y = self.dataset.x_train, self.dataset.y_train
        if self.validation is None:
            return x, y
        return np.concatenate([x, self.validation[0]]), np.concatenate(
            [y, self.validation[1]]
        )
