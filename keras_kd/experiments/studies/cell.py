"""Cell: one student's training, by what it differs from the others of a study."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Data:
    """Which images, and how many.

    Attributes:
        name: as in `keras_kd.datasets.load`.
        n_train: training images; `None` for all.
        n_validation: images that nobody trains on, by which learning rates are chosen.
        n_test: test images; `None` for all.
        label_noise: share of training and validation labels that are wrong.
        crop_and_flip: whether images are moved by up to an eighth and mirrored, anew in
            every epoch.
        passes: over the training images in one epoch, so that an epoch of fewer images
            can have as many steps as one of more.
    """

    name: str
    n_train: int | None = None
    n_validation: int = 0
    n_test: int | None = None
    label_noise: float = 0.0
    crop_and_flip: bool = False
    passes: int = 1

    def __str__(self) -> str:
        size = "" if self.n_train is None else f"-{self.n_train}"
        if self.passes > 1:
            size += f"x{self.passes}"
        noise = f"-noise-{self.label_noise:g}" if self.label_noise else ""
        return f"{self.name}{size}{noise}"


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A network by name.

    Attributes:
        network: a name in `keras_kd.experiments.NETWORKS`.
        width: multiple of its filters or units, for those that have one.
    """

    network: str
    width: float | None = None

    def __str__(self) -> str:
        return self.network if self.width is None else f"{self.network}x{self.width:g}"


@dataclasses.dataclass(frozen=True)
class Cell:
    """One student's training.

    Attributes:
        data: the images.
        student: the architecture.
        method: a name in `METHODS`.
        temperature: of the soft targets; `None` for a method without.
        spacing: epochs from one recorded checkpoint to the next.
        learning_rate: the highest of the schedule.
        seed: of weights and order.
    """

    data: Data
    student: Architecture
    method: str
    temperature: float | None
    spacing: int
    learning_rate: float
    seed: int

    def __str__(self) -> str:
        return f"{self.group}/seed-{self.seed}"

    @property
    def group(self) -> str:
        """What cells have in common that differ by seed alone."""
        return f"{self.setting}/rate-{self.learning_rate:g}"

    @property
    def setting(self) -> str:
        """What cells have in common that differ by seed and learning rate."""
        parts = [str(self.data), str(self.student), self.method]
        if self.temperature is not None:
            parts[-1] += f"-T{self.temperature:g}"
        if self.spacing != 1:
            parts[-1] += f"-every-{self.spacing}"
        return "/".join(parts)
