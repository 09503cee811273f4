"""The rows of a report as a table, in text and in HTML."""

import html
import itertools
from collections.abc import Sequence
from typing import NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table

from keras_kd.complexity.ranking.criteria import Criterion
from keras_kd.complexity.ranking.digits import readings
from keras_kd.complexity.ranking.row import TeacherRow

# Rows that are printed.
SHOWN = 40
# Groups of rows that read the same, of which it is said.
_GROUPS = 4
# Digits of what does not rank.
_DIGITS = 4

# In their order: what there is of classes, of labels or of values.
_HEADINGS: dict[Criterion, str] = {
    "teacher_accuracy": "teacher\nacc.",
    "teacher_error": "teacher\nerror",
    "heldout_accuracy": "machine\nacc.",
    "heldout_fidelity": "machine\nfid.",
    "heldout_error": "machine\nerror",
    "leave_one_out_error": "LOO\nerror",
    "complexity": "complex-\nity",
    "complexity_per_margin": "per\nmargin",
    "complexity_per_norm": "per\nnorm",
    "bound_total": "bound",
}
# Where they are shares of labels.
_OF_LABELS = {"acc.": "label\nacc.", "fid.": "label\nfid."}


class Column(NamedTuple):
    """A column: its heading, of lines, and its cells, which may be text."""

    heading: str
    cells: list[str]
    is_text: bool = False


def columns_of(
    ranking: Sequence[TeacherRow], ranked_by: Criterion, of_labels: bool, softens: bool
) -> list[Column]:
    """What there is to show of rows, a column for whatever one of them has.

    Args:
        ranking: rows, the best first.
        ranked_by: the column that may take more digits.
        of_labels: whether accuracies and fidelity are shares of a set of labels.
        softens: whether there are temperatures.
    """
    columns = [
        Column("rank", [str(row.rank) for row in ranking]),
        Column("teacher", [row.teacher for row in ranking], is_text=True),
    ]
    if any(row.step is not None for row in ranking):
        steps = ["" if row.step is None else str(row.step) for row in ranking]
        columns.append(Column("step", steps))
    if softens:
        columns.append(Column("temp.", [f"{row.temperature:g}" for row in ranking]))
    for criterion, heading in _HEADINGS.items():
        values = [getattr(row, criterion) for row in ranking]
        if all(value is None for value in values):
            continue
        if of_labels:
            first, _, last = heading.partition("\n")
            heading = f"{first}\n{_OF_LABELS[last]}" if last in _OF_LABELS else heading
        digits = {} if criterion == ranked_by else {"most": _DIGITS}
        columns.append(Column(heading, readings(values, **digits)))
    return columns


def as_text(columns: Sequence[Column], title: str, notes: Sequence[str]) -> str:
    """A table of at most 100 characters a line, and sentences under it."""
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=0, pad_edge=False)
    for column in columns:
        if column.is_text:
            table.add_column(column.heading, overflow="fold", min_width=12)
        else:
            table.add_column(column.heading, justify="right", no_wrap=True)
    for cells in itertools.islice(zip(*_cells(columns), strict=True), SHOWN):
        table.add_row(*cells)
    console = Console(width=100, file=None, record=False)
    with console.capture() as captured:
        console.print(table, markup=False, highlight=False)
        console.print("\n".join(notes), markup=False, highlight=False)
    return captured.get()


def as_html(columns: Sequence[Column], title: str, notes: Sequence[str]) -> str:
    """The same for a notebook."""
    lines = [column.heading.replace("-\n", "").split("\n") for column in columns]
    head = "".join(f"<th>{html.escape(' '.join(line))}</th>" for line in lines)
    rows = [
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>"
        for cells in itertools.islice(zip(*_cells(columns), strict=True), SHOWN)
    ]
    said = "<br>".join(html.escape(note) for note in notes)
    return (
        f"<table><caption>{html.escape(title)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
        f"<p>{said}</p>"
    )


def what_reads_the_same(
    ranking: Sequence[TeacherRow], criterion: Criterion
) -> str | None:
    """Which rows the criterion does not tell apart, in words; `None`: it tells all.

    Args:
        ranking: rows, the best first.
        criterion: by which they are ranked.
    """
    texts = readings([getattr(row, criterion) for row in ranking])
    groups = [
        [row for row, _ in pairs]
        for text, pairs in itertools.groupby(
            zip(ranking, texts, strict=True), key=lambda pair: pair[1]
        )
    ]
    if len(groups) == 1 < len(ranking):
        return (
            f"By {criterion} no two rows can be told apart: all read "
            f"{texts[0] or 'nothing'}."
        )
    alike = [group for group in groups if len(group) > 1]
    if not alike:
        return None
    named = [
        f"{group[0].rank} ({len(group)} rows)"
        if group[0].rank == group[-1].rank
        else f"{group[0].rank} to {group[-1].rank}"
        for group in alike[:_GROUPS]
    ]
    more = ", and others further down" if len(alike) > _GROUPS else ""
    return (
        f"By {criterion} these ranks read the same and cannot be told apart: "
        f"{', '.join(named)}{more}."
    )


def _cells(columns: Sequence[Column]) -> list[list[str]]:
    return [column.cells for column in columns]
