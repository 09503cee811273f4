"""What `compare_teachers` found: a row for each teacher, stage and temperature."""

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from keras_kd.complexity.ranking.criteria import CRITERIA, Criterion
from keras_kd.complexity.ranking.digits import readings
from keras_kd.complexity.ranking.row import TeacherRow
from keras_kd.complexity.ranking.table import (
    SHOWN,
    Column,
    as_html,
    as_text,
    columns_of,
    what_reads_the_same,
)
from keras_kd.files import write_text
from keras_kd.outputs import KindName, kind_named
from keras_kd.plots import plot_heat_map

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

# How a figure calls them.
_COLUMNS: dict[Criterion, str] = {
    "heldout_accuracy": "held-out accuracy\nof the kernel machine",
    "heldout_fidelity": "held-out agreement of the\nkernel machine with the teacher",
    "teacher_accuracy": "teacher's accuracy",
    "complexity": "adjusted supervision\ncomplexity",
    "complexity_per_margin": "complexity per margin",
    "complexity_per_norm": "complexity per target norm",
    "leave_one_out_error": "relative\nleave-one-out error",
    "bound_total": "bound on the\nkernel machine",
    "heldout_error": "relative held-out error\nof the kernel machine",
    "teacher_error": "teacher's\nrelative error",
}

# Kendall's rank correlation from which on two rankings are the same in substance.
_SAME = 0.8
# Significant digits to which numbers are equal that share a rank: solves know no more.
_EQUAL = 9


@dataclasses.dataclass(frozen=True)
class TeacherReport:
    """Which teacher, which stage of its training, which temperature.

    `print(report)` is a table of the best: of a teacher its accuracy, of the kernel
    machine its held-out accuracy, its fidelity and its leave-one-out error; of values
    errors in place of accuracies. Up to five digits are shown, and it is said which
    rows they do not tell apart.

    Attributes:
        rows: a `TeacherRow` for each, in the order in which they were given.
        student: its name.
        criterion: the column that ranks, one of `CRITERIA`.
        kind: of the targets, `"probabilities"` or `"logits"`.
        n: number of examples the kernel machine was fitted to.
        n_heldout: number of examples it was tested on.
        ridge: that was added to the kernel's diagonal, in the kernel's units.
        less_ridge: the ridge of `rank_less_ridge`.
        more_ridge: the ridge of `rank_more_ridge`.
        condition_number: of the system that was solved.
        residual: the largest relative residual of a solve.
        features: how many random features stood for the kernel; `None`: the kernel.
        output_kind: what the outputs were taken for: `"categorical"`, `"bernoulli"`
            (one output: two classes) or `"continuous"`.
        outputs: number of output units; `None` in files of earlier releases.
        criteria: the columns that can rank, and whether more is better.
    """

    criteria: ClassVar[dict[Criterion, bool]] = CRITERIA

    rows: tuple[TeacherRow, ...]
    student: str
    criterion: Criterion
    kind: str
    n: int
    n_heldout: int
    ridge: float
    less_ridge: float
    more_ridge: float
    condition_number: float
    residual: float
    features: int | None = None
    output_kind: KindName = "categorical"
    outputs: int | None = None

    @property
    def ranking(self) -> tuple[TeacherRow, ...]:
        """The rows from best to worst."""
        return tuple(sorted(self.rows, key=lambda row: row.rank))

    @property
    def best(self) -> TeacherRow:
        """The first of the ranking."""
        return self.ranking[0]

    @property
    def agreement(self) -> tuple[float, float]:
        """Kendall's tau-b of the ranking with that at less, and at more, ridge."""
        ranks, less, more = np.array(
            [(row.rank, row.rank_less_ridge, row.rank_more_ridge) for row in self.rows]
        ).T
        return _kendall(ranks, less), _kendall(ranks, more)

    @property
    def robust(self) -> bool:
        """Whether the ranking survives ten times more and ten times less ridge.

        One row is the best, or among the best, at all three, and `agreement` is 0.8 or
        more.
        """
        stays = any(
            row.rank == row.rank_less_ridge == row.rank_more_ridge == 1
            for row in self.rows
        )
        return stays and min(self.agreement) >= _SAME

    def to_pandas(self) -> "DataFrame":
        """A `pandas.DataFrame`, a row for each row.

        The terms of the bound are the columns `bound_...`.

        Raises:
            ImportError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise ImportError(
                "`TeacherReport.to_pandas()` needs pandas: `pip install pandas`. "
                "Without it there is `to_json()`."
            ) from error
        return pandas.DataFrame([row.flat() for row in self.rows])

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """The report as JSON, which `from_json` reads.

        Args:
            path: of a file to write it to as well.
        """
        content = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        content["rows"] = [row.to_plain() for row in self.rows]
        content |= {"agreement": self.agreement, "robust": self.robust}
        text = json.dumps(content, indent=1, allow_nan=False)
        if path is not None:
            write_text(Path(path), text + "\n")
        return text

    @classmethod
    def from_json(cls, text: str) -> "TeacherReport":
        """The report that `to_json` wrote.

        Args:
            text: what `to_json` returned, the content of its file.

        Raises:
            ValueError: it is none.
        """
        try:
            content = json.loads(text)
            rows = tuple(TeacherRow.from_plain(row) for row in content["rows"])
            fields = {
                field.name: content[field.name]
                for field in dataclasses.fields(cls)
                # Earlier releases did not write all of them.
                if field.name in content or field.default is dataclasses.MISSING
            }
            return cls(**fields | {"rows": rows})
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                "`text` must be what `TeacherReport.to_json()` returned. "
                f"Received: {str(text)[:40]!r}, {type(error).__name__}: {error}"
            ) from error

    def plot(self, column: Criterion | None = None, ax: "Axes | None" = None) -> "Axes":
        """The report as a heat map: teachers and stages by temperatures.

        The darker, the better; a frame is around the best, and around all that read
        the same.

        Args:
            column: which of `CRITERIA` to show; `None`: the one that ranks.
            ax: Matplotlib `Axes` to draw on; `None`: a figure of its own.

        Returns:
            The `Axes`.

        Raises:
            ValueError: `column` is none of the report's, or it was not measured.
        """
        column = self.criterion if column is None else column
        if column not in self.criteria:
            raise ValueError(
                f"`column` must be one of {list(self.criteria)}. "
                f"Received: column={column!r}"
            )
        labels = list(dict.fromkeys(row.label for row in self.rows))
        temperatures = list(dict.fromkeys(row.temperature for row in self.rows))
        table = np.full((len(labels), len(temperatures)), np.nan)
        texts = np.full(table.shape, "", object)
        values = [getattr(row, column) for row in self.rows]
        read = readings(values)
        for row, value, text in zip(self.rows, values, read, strict=True):
            place = labels.index(row.label), temperatures.index(row.temperature)
            table[place] = np.nan if value is None else value
            texts[place] = text
        if np.isnan(table).all():
            raise ValueError(
                f"`column` must be one that was measured. Received: column='{column}' "
                "of a report that has none of it"
            )
        ax = plot_heat_map(
            table,
            labels,
            [f"{t:g}" if self._softens else "" for t in temperatures],
            label=_COLUMNS[column],
            more_is_better=self.criteria[column],
            ax=ax,
            texts=texts,
        )
        ax.set(xlabel="temperature" if self._softens else "")
        title = f"Student {self.student}"
        known = [pair for pair in zip(values, read, strict=True) if pair[0] is not None]
        best = max(known) if self.criteria[column] else min(known)
        alike = read.count(best[1])
        if alike < len(known):
            title += ": the darker the better"
        if alike > 1:
            which = "all" if alike == len(known) else "the best"
            title += f"\n{which} {alike} read the same: they cannot be told apart"
        ax.set_title(title, fontsize="medium")
        return ax

    def __repr__(self) -> str:
        best = self.best
        at = f" at temperature {best.temperature:g}" if self._softens else ""
        rows = f"{len(self.rows)} row{'s' if len(self.rows) > 1 else ''}"
        return (
            f"<TeacherReport for student '{self.student}': {rows}, best by "
            f"{self.criterion}: '{best.label}'{at}>"
        )

    def __str__(self) -> str:
        return as_text(self._columns(), self._title, self._notes())

    def _repr_html_(self) -> str:
        return as_html(self._columns(), self._title, self._notes())

    @property
    def _title(self) -> str:
        return f"Teachers for student {self.student}"

    @property
    def _softens(self) -> bool:
        return kind_named(self.output_kind).SOFTENS

    @property
    def _of_labels(self) -> bool:
        """Whether the outputs are a set of labels: one alone is two classes."""
        return self.output_kind == "bernoulli" and self.outputs != 1

    def _columns(self) -> list[Column]:
        return columns_of(self.ranking, self.criterion, self._of_labels, self._softens)

    def _notes(self) -> list[str]:
        more = "highest" if CRITERIA[self.criterion] else "lowest"
        survives = "survives" if self.robust else "does not survive"
        less_ridge, more_ridge = self.agreement
        lines = []
        if len(self.rows) > SHOWN:
            lines.append(f"... and {len(self.rows) - SHOWN} more (`ranking`).")
        lines.append(f"Ranked by {self.criterion}, {more} first.")
        if alike := what_reads_the_same(self.ranking, self.criterion):
            lines.append(alike)
        lines += [
            f"The ranking {survives} ten times less and more ridge "
            f"(Kendall's tau {less_ridge:.2f}, {more_ridge:.2f}).",
            f"The kernel machine was fitted to {self.n:,} examples and tested on "
            f"{self.n_heldout:,}; ridge {self.ridge:.3g}.",
        ]
        if self.features is not None:
            lines.append(f"The kernel is estimated by {self.features:,} features.")
        if self.rows[0].heldout_fidelity is None:
            lines.append("Errors are squared, over the variance of what is predicted.")
        elif self._of_labels:
            one = f"{1 / (self.n_heldout * (self.outputs or 1)):.2g}"
            lines.append(f"Accuracies and fidelity are shares of labels: one is {one}.")
        else:
            one = f"{1 / self.n_heldout:.2g}"
            lines.append(f"One held-out example is {one} of accuracy and fidelity.")
        return lines + self._notes_on_bounds()

    def _notes_on_bounds(self) -> list[str]:
        bounds = [row.bound for row in self.rows if row.bound is not None]
        if not bounds:
            return []
        if all(bound.valid for bound in bounds):
            value = f"all hold with probability {1 - sum(self._deltas()):.3g}"
        else:
            value = "a diagnostic, no guarantee (see `bound.reasons`)"
        what = bounds[0].bounds + (", a share of labels" if self._of_labels else "")
        lines = [f"Bound on the machine's {what}: {value}."]
        if all(bound.vacuous for bound in bounds):
            lines.append("No bound is below 1: they say nothing.")
        return lines

    def _deltas(self) -> list[float]:
        """Of each teacher or stage; all temperatures of one share theirs."""
        bounds = {row.label: row.bound for row in self.rows}
        return [bound.delta for bound in bounds.values() if bound is not None]


def ranks(values: Sequence[float | None], more_is_better: bool) -> list[int]:
    """1 for the best, the same for equals; `None` comes last.

    Equals are what is the same but for rounding.

    Args:
        values: floats or `None`.
        more_is_better: which end is the best.
    """
    from scipy.stats import rankdata  # A second, which not all who import this need.

    sign = -1.0 if more_is_better else 1.0
    losses = [np.inf if v is None else float(f"{sign * v:.{_EQUAL}g}") for v in values]
    return [int(rank) for rank in rankdata(losses, method="min")]


def _kendall(a: ArrayLike, b: ArrayLike) -> float:
    """Tau-b, which counts no pair that is equal in both; 1 where all are in one."""
    from scipy.stats import kendalltau

    if 0 in (np.ptp(a), np.ptp(b)):
        # No order that could be correlated.
        return float(np.array_equal(a, b))
    return float(kendalltau(a, b).statistic)
