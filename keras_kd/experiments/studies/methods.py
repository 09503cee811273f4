"""The methods that studies compare, as plain data."""

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True)
class Method:
    """How a student is trained.

    Attributes:
        about: a line for tables.
        supervision: from whom: the labels alone, a fixed teacher, a teacher's
            successive checkpoints, or a teacher that trains in the same run.
        label_smoothing: of the labels.
        averaged: whether the teacher's averaged trajectory is used.
        stop: the share of the teacher's training after which it is taken.
        hold: the share of the student's training, at its end, with the last
            checkpoint.
        anchors: how many checkpoints are used, at equal distances and for equal numbers
            of epochs; `None` for all that there are.
        transition: whether the checkpoint in the steepest drop of the teacher's loss is
            used, and then the last one.
        teacher: who it is: the recipe's teacher; its assistant, a network of a size
            between, that was distilled from the teacher; or the student's own
            architecture, trained on the labels.
    """

    about: str
    supervision: Literal["labels", "fixed", "online", "together"]
    label_smoothing: float = 0.0
    averaged: bool = False
    stop: float = 1.0
    hold: float = 0.0
    anchors: int | None = None
    transition: bool = False
    teacher: Literal["teacher", "assistant", "itself"] = "teacher"

    @property
    def soft(self) -> bool:
        """Whether there are soft targets, and so a temperature."""
        return self.supervision != "labels"

    @property
    def online(self) -> bool:
        """Whether it goes through the teacher's checkpoints."""
        return self.supervision == "online"

    @property
    def spaced(self) -> bool:
        """Whether it depends on how often the teacher was recorded."""
        return self.online and self.anchors is None and not self.transition


METHODS: dict[str, Method] = {
    "none": Method("labels alone", "labels"),
    # Szegedy et al., CVPR 2016.
    "label_smoothing": Method("smoothed labels (0.1)", "labels", label_smoothing=0.1),
    # Hinton, Vinyals & Dean, 2015.
    "offline": Method("the final teacher", "fixed"),
    "offline_averaged": Method(
        "the final teacher, its weights averaged", "fixed", averaged=True
    ),
    # Cho & Hariharan, ICCV 2019.
    "early_stopped": Method("the teacher half-way", "fixed", stop=0.5),
    # Harutyunyan et al., ICLR 2023.
    "online": Method("the nearest later checkpoint", "online"),
    "online_hold": Method(
        "the same, the last third with the last one", "online", hold=1 / 3
    ),
    "online_averaged": Method(
        "the nearest later averaged checkpoint", "online", averaged=True
    ),
    # Jin et al., ICCV 2019 (route-constrained optimisation).
    "equal_epochs": Method(
        "four checkpoints for equal numbers of epochs", "online", anchors=4
    ),
    # Panigrahi et al., ICLR 2025.
    "phase_transition": Method(
        "the checkpoint in the steepest drop of the teacher's loss, then the last",
        "online",
        transition=True,
    ),
    # Mirzadeh et al., AAAI 2020.
    "assistant": Method("an assistant of a size between", "fixed", teacher="assistant"),
    # Furlanello et al., ICML 2018, one generation.
    "born_again": Method(
        "itself, trained on labels from other initial weights",
        "fixed",
        teacher="itself",
    ),
    "together": Method("a teacher that trains in the same run", "together"),
}


def title(method: str, spacing: int = 1) -> str:
    """A method's name in tables and figures.

    Args:
        method: a name in `METHODS`.
        spacing: epochs from one recorded checkpoint to the next.
    """
    name = "no distillation" if method == "none" else method.replace("_", " ")
    return name if spacing == 1 else f"{name}, every {spacing} epochs"
