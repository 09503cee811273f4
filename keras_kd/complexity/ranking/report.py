"""What `compare_teachers` found: a row for each teacher, stage and temperature."""

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from rich import box
from rich.console import Console
from rich.table import Table

from keras_kd.complexity.margin_bound import DistillationBound
from keras_kd.files import write_text
from keras_kd.plots import plot_heat_map

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

Criterion: TypeAlias = Literal[
    "heldout_accuracy",
    "heldout_fidelity",
    "teacher_accuracy",
    "complexity",
    "complexity_per_margin",
    "complexity_per_norm",
    "leave_one_out_error",
    "bound_total",
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
}

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
}

# Kendall's rank correlation from which on two rankings are the same in substance.
_SAME = 0.8

# Rows that are printed.
_SHOWN = 40


@dataclasses.dataclass(frozen=True)
class TeacherRow:
    """One teacher, or one stage of its training, at one temperature.

    Attributes:
        teacher: its name.
        step: of the checkpoint, in batches of the teacher's training; `None`: no
            checkpoint.
        temperature: of its soft targets.
        teacher_accuracy: of its own predictions, on all examples; `None`: no labels.
        complexity: adjusted supervision complexity of its targets on the fitted
            examples. A higher temperature shrinks them, and this with them.
        complexity_per_margin: the same over the mean margin that the targets have for
            the teacher's class; `None` where that is 0.
        complexity_per_norm: the same over the root mean square of the targets' norm;
            `None` where that is 0.
        heldout_accuracy: on the held-out examples, of the kernel machine that was
            fitted to the targets; `None`: no labels.
        heldout_fidelity: how often it predicts there what the teacher does.
        leave_one_out_error: mean squared error of the machine on the fitted examples,
            each left out, relative to the targets' mean square; `None` where that is 0.
        bound: on the error of the machine, or without labels on its disagreement with
            the teacher.
        rank: 1 is the best; equals share one.
        rank_less_ridge: the rank with a tenth of the ridge.
        rank_more_ridge: the rank with ten times the ridge.
    """

    teacher: str
    step: int | None
    temperature: float
    teacher_accuracy: float | None
    complexity: float
    complexity_per_margin: float | None
    complexity_per_norm: float | None
    heldout_accuracy: float | None
    heldout_fidelity: float
    leave_one_out_error: float | None
    bound: DistillationBound
    rank: int = 0
    rank_less_ridge: int = 0
    rank_more_ridge: int = 0

    @property
    def label(self) -> str:
        """The teacher's name, with the step of the checkpoint."""
        if self.step is None:
            return self.teacher
        return f"{self.teacher}, step {self.step}"

    @property
    def bound_total(self) -> float:
        """The bound; above 1 it says nothing."""
        return self.bound.total


@dataclasses.dataclass(frozen=True)
class TeacherReport:
    """Which teacher, which stage of its training, which temperature.

    `print(report)` is a table of the best: of a teacher its accuracy, of the kernel
    machine its held-out accuracy, its fidelity and its leave-one-out error.

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
        return pandas.DataFrame([_flat(row) for row in self.rows])

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """The report as JSON, which `from_json` reads.

        Args:
            path: of a file to write it to as well.
        """
        content = dataclasses.asdict(self)
        for plain, row in zip(content["rows"], self.rows, strict=True):
            bound = row.bound
            plain["bound"] |= {
                "total": bound.total,
                "bounds": bound.bounds,
                "valid": bound.valid,
                "vacuous": bound.vacuous,
            }
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
            rows = []
            for row in content["rows"]:
                bound = _fields(DistillationBound, row["bound"])
                bound["reasons"] = tuple(bound["reasons"])
                rows.append(TeacherRow(**row | {"bound": DistillationBound(**bound)}))
            return cls(**_fields(cls, content) | {"rows": tuple(rows)})
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                "`text` must be what `TeacherReport.to_json()` returned. "
                f"Received: {str(text)[:40]!r}, {type(error).__name__}: {error}"
            ) from error

    def plot(self, column: Criterion | None = None, ax: "Axes | None" = None) -> "Axes":
        """The report as a heat map: teachers and stages by temperatures.

        The darker, the better; a frame is around the best.

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
        for row in self.rows:
            value = getattr(row, column)
            place = labels.index(row.label), temperatures.index(row.temperature)
            table[place] = np.nan if value is None else value
        if np.isnan(table).all():
            raise ValueError(
                f"`column` must be one that was measured. Received: column='{column}' "
                "of a report without labels"
            )
        ax = plot_heat_map(
            table,
            labels,
            [f"{t:g}" for t in temperatures],
            label=_COLUMNS[column],
            more_is_better=self.criteria[column],
            ax=ax,
        )
        ax.set(xlabel="temperature")
        title = f"Student {self.student}: the darker the better"
        ax.set_title(title, fontsize="medium")
        return ax

    def __str__(self) -> str:
        labelled = self.rows[0].teacher_accuracy is not None
        staged = any(row.step is not None for row in self.rows)
        table = Table(
            title=f"Teachers for student {self.student}",
            box=box.SIMPLE_HEAD,
            padding=(0, 1, 0, 0),
            pad_edge=False,
        )
        table.add_column("rank", justify="right", no_wrap=True)
        table.add_column("teacher", overflow="fold", min_width=12)
        for heading, shown in (
            ("step", staged),
            ("temp.", True),
            ("teacher\nacc.", labelled),
            ("machine\nacc.", labelled),
            ("machine\nfid.", True),
            ("LOO\nerror", True),
            ("complex-\nity", True),
            ("per\nmargin", True),
            ("per\nnorm", True),
            ("bound", True),
        ):
            if shown:
                table.add_column(heading, justify="right", no_wrap=True)
        for row in self.ranking[:_SHOWN]:
            cells = [str(row.rank), row.teacher]
            cells += ["" if row.step is None else str(row.step)] if staged else []
            cells.append(f"{row.temperature:g}")
            if labelled:
                cells += [_number(row.teacher_accuracy), _number(row.heldout_accuracy)]
            cells += [
                _number(row.heldout_fidelity),
                _number(row.leave_one_out_error),
                _number(row.complexity),
                _number(row.complexity_per_margin),
                _number(row.complexity_per_norm),
                _number(row.bound_total),
            ]
            table.add_row(*cells)
        console = Console(width=100, file=None, record=False)
        with console.capture() as captured:
            console.print(table)
            console.print(self._notes(), markup=False, highlight=False)
        return captured.get()

    def _notes(self) -> str:
        more = "highest" if CRITERIA[self.criterion] else "lowest"
        survives = "survives" if self.robust else "does not survive"
        less_ridge, more_ridge = self.agreement
        lines = []
        if len(self.rows) > _SHOWN:
            lines.append(f"... and {len(self.rows) - _SHOWN} more (`ranking`).")
        lines += [
            f"Ranked by {self.criterion}, {more} first.",
            f"The ranking {survives} ten times less and more ridge "
            f"(Kendall's tau {less_ridge:.2f}, {more_ridge:.2f}).",
            f"The kernel machine was fitted to {self.n:,} examples and tested on "
            f"{self.n_heldout:,}; ridge {self.ridge:.3g}.",
        ]
        if self.features is not None:
            lines.append(f"The kernel is estimated by {self.features:,} features.")
        bounds = [row.bound for row in self.rows]
        if all(bound.valid for bound in bounds):
            value = f"all hold with probability {1 - sum(self._deltas()):.3g}"
        else:
            value = "a diagnostic, no guarantee (see `bound.reasons`)"
        lines.append(f"Bound on the machine's {bounds[0].bounds}: {value}.")
        if all(bound.vacuous for bound in bounds):
            lines.append("No bound is below 1: they say nothing.")
        return "\n".join(lines)

    def _deltas(self) -> list[float]:
        """Of each teacher or stage; all temperatures of one share theirs."""
        return list({row.label: row.bound.delta for row in self.rows}.values())


def ranks(values: Sequence[float | None], more_is_better: bool) -> list[int]:
    """1 for the best, the same for equals; `None` comes last.

    Args:
        values: floats or `None`.
        more_is_better: which end is the best.
    """
    from scipy.stats import rankdata  # A second, which not all who import this need.

    sign = -1.0 if more_is_better else 1.0
    losses = [np.inf if v is None else sign * v for v in values]
    return [int(rank) for rank in rankdata(losses, method="min")]


def _kendall(a: ArrayLike, b: ArrayLike) -> float:
    """Tau-b, which counts no pair that is equal in both; 1 where all are in one."""
    from scipy.stats import kendalltau

    if 0 in (np.ptp(a), np.ptp(b)):
        # No order that could be correlated.
        return float(np.array_equal(a, b))
    return float(kendalltau(a, b).statistic)


def _flat(row: TeacherRow) -> dict[str, Any]:
    flat = {
        field.name: getattr(row, field.name)
        for field in dataclasses.fields(row)
        if field.name != "bound"
    }
    bound = {"total": row.bound.total, **row.bound.terms}
    bound |= {"valid": row.bound.valid, "vacuous": row.bound.vacuous}
    return flat | {f"bound_{name}": value for name, value in bound.items()}


def _fields(cls: type[Any], content: Mapping[str, Any]) -> dict[str, Any]:
    return {field.name: content[field.name] for field in dataclasses.fields(cls)}


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
