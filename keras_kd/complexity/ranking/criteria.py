"""What teachers can be ranked by, and for which kind of output."""

from typing import Literal, TypeAlias

from keras_kd.arguments import check_choice
from keras_kd.outputs import Kind

Criterion: TypeAlias = Literal[
    "heldout_accuracy",
    "heldout_fidelity",
    "teacher_accuracy",
    "complexity",
    "complexity_per_margin",
    "complexity_per_norm",
    "leave_one_out_error",
    "bound_total",
    "heldout_error",
    "teacher_error",
]

# What a ranking can be by, and whether more of it is better.
CRITERIA: dict[Criterion, bool] = {
    "heldout_accuracy": True,
    "heldout_fidelity": True,
    "teacher_accuracy": True,
    "complexity": False,
    "complexity_per_margin": False,
    "complexity_per_norm": False,
    "leave_one_out_error": False,
    "bound_total": False,
    "heldout_error": False,
    "teacher_error": False,
}
# What needs a decision, what is there of values alone, and what needs labels.
_OF_DECISIONS = (
    "heldout_accuracy",
    "heldout_fidelity",
    "teacher_accuracy",
    "complexity_per_margin",
    "bound_total",
)
_OF_VALUES = ("heldout_error", "teacher_error")
_OF_LABELS = ("heldout_accuracy", "teacher_accuracy", *_OF_VALUES)


def criteria_of(kind: Kind) -> list[Criterion]:
    """Those that an output of this kind has."""
    others = _OF_VALUES if kind.DECIDES else _OF_DECISIONS
    return [criterion for criterion in CRITERIA if criterion not in others]


def checked_criterion(
    criterion: Criterion | None, kind: Kind, labelled: bool
) -> Criterion:
    """What ranks; `None`: what agreed best with how students turned out.

    Without labels that is no accuracy, and of values no decision.

    Raises:
        ValueError: there is no such criterion, outputs of this kind have none, or it
            needs labels.
    """
    if criterion is None:
        if kind.DECIDES:
            return "bound_total" if labelled else "heldout_fidelity"
        return "heldout_error" if labelled else "leave_one_out_error"
    check_choice("criterion", criterion, tuple(CRITERIA))
    of_kind = criteria_of(kind)
    if criterion not in of_kind:
        raise ValueError(
            f"`criterion` must be one of {of_kind} for outputs that are {kind.NAME}"
            + ("" if kind.DECIDES else ": by values nothing is decided")
            + f". Received: criterion='{criterion}'"
        )
    if criterion in _OF_LABELS and not labelled:
        raise ValueError(f"`criterion='{criterion}'` needs labels. Received: y=None")
    return criterion
