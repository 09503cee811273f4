"""Spacing: at which moments of a training a recorder takes checkpoints."""

import dataclasses
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from keras_kd.arguments import check_choice, check_integer, check_number

UNITS = ("epoch", "step")


@dataclasses.dataclass(frozen=True)
class Spacing:
    """Equal or geometric intervals.

    Attributes:
        every: units to the first checkpoint, and between equal ones.
        unit: `"epoch"` or `"step"`.
        growth: factor of geometric intervals, or `None` for equal ones.
    """

    every: int
    unit: str
    growth: Fraction | None

    @classmethod
    def of(cls, every: object, unit: object, growth: Any) -> "Spacing":
        """What the user asks for.

        Raises:
            ValueError: an argument is out of range.
        """
        every = check_integer("every", every, at_least=1)
        if unit not in UNITS:
            raise ValueError(f"`unit` must be 'epoch' or 'step'. Received: unit={unit}")
        exact = None
        if growth is not None:
            check_number("growth", growth, above=1, expected="> 1")
            # As written: 1.1 means 11/10, so that ten times it is 11.
            exact = Fraction(str(growth))
        return cls(every, str(unit), exact)

    def next_due(self, position: int) -> int:
        """The first moment after `position` to record at, in units."""
        if self.growth is None:
            return (position // self.every + 1) * self.every
        due = self.every
        while due <= position:
            due = max(due + 1, math.ceil(due * self.growth))
        return due

    def due_steps(self, after: int, until: int, steps_per_epoch: int) -> list[int]:
        """The steps in `(after, until]` to record at.

        Args:
            after: step of the last checkpoint, 0 for none.
            until: a step at which an epoch ends.
            steps_per_epoch: batches per epoch.
        """
        size = steps_per_epoch if self.unit == "epoch" else 1
        steps, due = [], self.next_due(after // size)
        while due * size <= until:
            steps.append(due * size)
            due = self.next_due(due)
        return steps

    def as_json(self) -> dict[str, Any]:
        """As a manifest holds it."""
        growth = None if self.growth is None else str(self.growth)
        return {"every": self.every, "unit": self.unit, "growth": growth}

    @classmethod
    def from_json(cls, content: Any) -> "Spacing | None":
        """From a manifest; those of version 0.1 do not say it.

        Raises:
            ValueError: it is something else.
        """
        if content is None:
            return None
        if not isinstance(content, dict) or content.keys() != {
            "every",
            "unit",
            "growth",
        }:
            raise ValueError(f"'spacing' is no spacing, but {content!r:.80}")
        check_choice("unit", content["unit"], UNITS)
        growth = content["growth"]
        try:
            exact = None if growth is None else Fraction(str(growth)[:40])
        except ZeroDivisionError:
            raise ValueError(f"'growth' is no number, but {growth!r:.80}") from None
        if exact is not None:
            check_number("growth", float(exact), above=1)
        every = check_integer("every", content["every"], at_least=1)
        return cls(every, content["unit"], exact)


def shortened(steps: Sequence[int]) -> str:
    """Steps for a message, which does not repeat many."""
    few = ", ".join(map(str, steps[:5]))
    more = f" and {len(steps) - 5} more" if len(steps) > 5 else ""
    return f"step{'s' if len(steps) > 1 else ''} {few}{more}"
