"""Stages: what a teacher was at several moments of its own training."""

import bisect
import math
import operator
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Generic, Protocol, TypeVar


class Stage(Protocol):
    """One state of a teacher."""

    @property
    def index(self) -> int:
        """Its place, from 0."""

    @property
    def step(self) -> int:
        """Teacher batches completed."""

    @property
    def epoch(self) -> int:
        """Teacher epochs completed."""


S = TypeVar("S", bound=Stage)


class Stages(Generic[S]):
    """The recorded stages of one teacher, in the order of its training: a sequence.

    Args:
        stages: each with its place `index`, its `step` (teacher batches completed) and
            its `epoch`.
        total_steps: batches of the teacher's training in all, `T`.
        name: what they are, for messages.
    """

    def __init__(self, stages: Sequence[S], total_steps: int, name: str) -> None:
        self._stages = tuple(stages)
        self._total_steps = total_steps
        self._name = name
        self._steps = [stage.step for stage in self._stages]

    def __len__(self) -> int:
        return len(self._stages)

    def __getitem__(self, index: int) -> S:
        try:
            return self._stages[operator.index(index)]
        except IndexError:
            raise IndexError(
                f"`index` must be in [{-len(self)}, {len(self)}), the checkpoints of "
                f"{self._name}. Received: index={index}"
            ) from None

    def __iter__(self) -> Iterator[S]:
        return iter(self._stages)

    @property
    def total_steps(self) -> int:
        """Batches of the teacher's training in all, `T`."""
        return self._total_steps

    def at_step(self, step: int, total_steps: int | Fraction | None = None) -> S:
        r"""The nearest later checkpoint, the paper's rule.

        $t^* = \min\{t_i : t_i S > t T\}$, and the last checkpoint once none is later.
        The comparison is exact.

        Args:
            step: `t`, batches completed, >= 0.
            total_steps: `S`, the batches among which `t` counts (the student's);
                `None` for the teacher's own, `S = T`.

        Returns:
            The checkpoint.

        Raises:
            ValueError: `step` is negative, or `total_steps` not positive.

        Source: Harutyunyan et al., ICLR 2023, section 4 (online distillation).
        """
        if total_steps is None:
            total_steps = self.total_steps
        if step < 0:
            raise ValueError(f"`step` must be >= 0. Received: step={step}")
        if total_steps <= 0:
            raise ValueError(
                f"`total_steps` must be > 0. Received: total_steps={total_steps}"
            )
        # The steps are integers, so one is later than t T / S if it is than its floor.
        teacher_step = math.floor(Fraction(step * self.total_steps) / total_steps)
        index = bisect.bisect_right(self._steps, teacher_step)
        return self[min(index, len(self) - 1)]
