"""A row of the report: one teacher, or one stage of its training, at a temperature."""

import dataclasses
from typing import Any

from keras_kd.complexity.margin_bound import DistillationBound


@dataclasses.dataclass(frozen=True)
class TeacherRow:
    """One teacher, or one stage of its training, at one temperature.

    Of a set of labels accuracies and fidelity are shares of labels. Of values, by which
    nothing is decided, there are errors instead: see `heldout_error`.

    Attributes:
        teacher: its name.
        step: of the checkpoint, in batches of the teacher's training; `None`: no
            checkpoint.
        temperature: of its soft targets; 1 of values.
        teacher_accuracy: of its own predictions, on all examples; `None`: no labels, or
            values.
        complexity: adjusted supervision complexity of its targets on the fitted
            examples. A higher temperature shrinks them, and this with them.
        complexity_per_margin: the same over the mean margin that the targets have for
            what the teacher decides; `None` where that is 0, and of values.
        complexity_per_norm: the same over the root mean square of the targets' norm;
            `None` where that is 0.
        heldout_accuracy: on the held-out examples, of the kernel machine that was
            fitted to the targets; `None`: no labels, or values.
        heldout_fidelity: how often it predicts there what the teacher does; `None`:
            values.
        leave_one_out_error: mean squared error of the machine on the fitted examples,
            each left out, relative to the targets' mean square; `None` where that is 0.
        bound: on the error of the machine, or without labels on its disagreement with
            the teacher; `None`: values.
        rank: 1 is the best; equals share one.
        rank_less_ridge: the rank with a tenth of the ridge.
        rank_more_ridge: the rank with ten times the ridge.
        heldout_error: of values the mean squared error of the machine on the held-out
            examples, against the labels and relative to the labels' variance over all
            examples: 0 is perfect, 1 no better than their mean; else `None`.
        teacher_error: the same of the teacher's values, on all examples; else `None`.
    """

    teacher: str
    step: int | None
    temperature: float
    teacher_accuracy: float | None
    complexity: float
    complexity_per_margin: float | None
    complexity_per_norm: float | None
    heldout_accuracy: float | None
    heldout_fidelity: float | None
    leave_one_out_error: float | None
    bound: DistillationBound | None
    rank: int = 0
    rank_less_ridge: int = 0
    rank_more_ridge: int = 0
    heldout_error: float | None = None
    teacher_error: float | None = None

    @property
    def label(self) -> str:
        """The teacher's name, with the step of the checkpoint."""
        if self.step is None:
            return self.teacher
        return f"{self.teacher}, step {self.step}"

    @property
    def bound_total(self) -> float | None:
        """The bound; above 1 it says nothing. `None`: values have none."""
        return None if self.bound is None else self.bound.total

    def flat(self) -> dict[str, Any]:
        """All numbers by name, the terms of the bound as `bound_...`."""
        flat = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name != "bound"
        }
        if self.bound is None:
            return flat
        bound = {"total": self.bound.total, **self.bound.terms}
        bound |= {"valid": self.bound.valid, "vacuous": self.bound.vacuous}
        return flat | {f"bound_{name}": value for name, value in bound.items()}

    def to_plain(self) -> dict[str, Any]:
        """What JSON can hold, with what follows from the bound."""
        plain = dataclasses.asdict(self)
        if self.bound is not None:
            plain["bound"] |= {
                "total": self.bound.total,
                "bounds": self.bound.bounds,
                "valid": self.bound.valid,
                "vacuous": self.bound.vacuous,
            }
        return plain

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> "TeacherRow":
        """What `to_plain` gave; earlier releases did not write all of it.

        Raises:
            KeyError, TypeError: it is something else.
        """
        bound = plain["bound"]
        return cls(**plain | {"bound": None if bound is None else _bound(bound)})


def _bound(plain: dict[str, Any]) -> DistillationBound:
    fields = {
        field.name: plain[field.name]
        for field in dataclasses.fields(DistillationBound)
        if field.name in plain or field.default is dataclasses.MISSING
    }
    fields["reasons"] = tuple(fields["reasons"])
    fields["labels"] = tuple(_bound(one) for one in plain.get("labels", ()))
    return DistillationBound(**fields)
