"""Figures, drawn with matplotlib (`pip install keras-kd[plot]`).

What takes `ax` draws on these Matplotlib `Axes`, or on a new figure's, and returns
them. It can be read in black and white.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from keras_kd.arguments import check_has, check_named_numbers, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.patches import Rectangle

    from keras_kd.plotted import CanPlot, HasSpectrum, HasTerms

COLOURS = {
    "teacher": "#777777",
    "none": "#1b9e77",
    "offline": "#d95f02",
    "online": "#7570b3",
    "together": "#e7298a",
}
LABELS = {"none": "no teacher", "teacher": "teacher"}

# Greys of even steps, each with a line style and a marker of its own.
LINES = (
    ("#000000", "-", "o"),
    ("#666666", "--", "s"),
    ("#000000", ":", "^"),
    ("#666666", "-.", "D"),
    ("#999999", "-", "v"),
    ("#000000", (0, (6, 1, 1, 1, 1, 1)), "x"),
    ("#999999", "--", "P"),
)
_TERMS = {
    "teacher_error": ("teacher's error", "#222222", ""),
    "teacher_confidence": ("confidence of it", "#777777", "///"),
    "margin": ("margin", "#ffffff", "..."),
    "complexity": ("complexity", "#aaaaaa", "xxx"),
    "confidence": ("confidence", "#ffffff", "---"),
}
# Above this many cells or ticks a number in each could not be read.
_MOST_ROWS = 40


def plot_runs(
    histories: Mapping[str, Sequence[Mapping[str, Sequence[float]]]],
    file: str | Path,
    title: str,
) -> None:
    """Curves over epochs: test accuracy, and agreement with the teacher.

    Args:
        histories: for each method those of its runs, one a seed, with
            `"val_accuracy"` and, but for teachers, `"val_fidelity"`, from 0 to 1 at
            each epoch. Lines are means, bands standard errors.
        file: the PNG (or other format that matplotlib knows) to write.
        title: above the figure.
    """
    if not isinstance(histories, Mapping) or not histories:
        raise ValueError(
            "`histories` must be lists of histories by name. Received: "
            f"histories={shown(histories)}"
        )
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    figure.suptitle(title)
    accuracy, fidelity = figure.subplots(1, 2)
    for axes, log in ((accuracy, "val_accuracy"), (fidelity, "val_fidelity")):
        for method, of_method in histories.items():
            known = [history[log] for history in of_method if log in history]
            if known:
                _curve(axes, method, np.asarray(known, float))
        axes.grid(alpha=0.3)
    accuracy.set(xlabel="epoch", ylabel="test accuracy (%)")
    fidelity.set(xlabel="epoch", ylabel="agreement with the teacher in use (%)")
    for axes in (accuracy, fidelity):
        axes.legend(loc="lower right", frameon=False)
    figure.savefig(file, dpi=150)


def _curve(axes: Axes, method: str, values: NDArray[np.float64]) -> None:
    """One method's line, of values `(runs, epochs)`."""
    mean = 100 * values.mean(axis=0)
    epochs = np.arange(1, len(mean) + 1)
    colour = COLOURS[method]
    style = "--" if method == "teacher" else "-"
    axes.plot(epochs, mean, style, color=colour, label=LABELS.get(method, method))
    if len(values) > 1:
        from scipy.stats import sem

        error = 100 * sem(values, axis=0)
        axes.fill_between(epochs, mean - error, mean + error, color=colour, alpha=0.2)


def plot_complexity(
    values: Mapping[str, Sequence[float]],
    epochs: Sequence[float] | None = None,
    ax: Axes | None = None,
    errors: Mapping[str, Sequence[float]] | None = None,
) -> Axes:
    """Supervision complexity over training, a line for each target set.

    Args:
        values: for each target set its adjusted complexities, an epoch each, such as a
            `keras.callbacks.History` has them. `NaN` leaves a gap.
        epochs: which they were; `None`: 1, 2, ...
        ax: Matplotlib `Axes`; `None`: of a new figure.
        errors: for each target set the standard errors of its values, drawn as a band;
            `None`: no bands.

    Returns:
        The `Axes`.

    Raises:
        ValueError: there is no target set, or one is not as long as `epochs`, or
            `errors` are not of the same target sets and lengths.
    """
    lines = check_named_numbers("values", values)
    sizes = {name: len(line) for name, line in lines.items()}
    lengths = set(sizes.values())
    if len(lengths) != 1 or (epochs is not None and {len(epochs)} != lengths):
        raise ValueError(
            "`values` must be sequences of the length of `epochs`, at least one. "
            f"Received: {sizes}" + ("" if epochs is None else f", {len(epochs)} epochs")
        )
    bands = {} if errors is None else check_named_numbers("errors", errors)
    if errors is not None and {name: len(b) for name, b in bands.items()} != sizes:
        raise ValueError(
            f"`errors` must be of {list(values)}, as long as `values`. Received: "
            f"{ {name: len(band) for name, band in bands.items()} }"
        )
    ax = _axes(ax)
    x = np.arange(1, lengths.pop() + 1) if epochs is None else np.asarray(epochs)
    for (name, line), (colour, style, marker) in zip(
        lines.items(), itertools.cycle(LINES), strict=False
    ):
        if errors is not None:
            low, high = line - bands[name], line + bands[name]
            ax.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
        ax.plot(
            x,
            line,
            color=colour,
            linestyle=style,
            marker=marker,
            markersize=4,
            markevery=max(1, len(x) // 12),
            label=name,
        )
    if epochs is None:
        locator: Any = ax.xaxis.get_major_locator()
        locator.set_params(integer=True)
    scale = "log" if _differ_in_size(lines.values()) else "linear"
    ax.set(xlabel="epoch", ylabel="adjusted supervision complexity", yscale=scale)
    ax.grid(alpha=0.3)
    ax.legend(frameon=False)
    return ax


def plot_spectrum(spectrum: HasSpectrum, ax: Axes | None = None) -> Axes:
    """Eigenvalues of the kernel, and the share of the targets along the largest ones.

    Args:
        spectrum: as `keras_kd.complexity.spectrum` gives it.
        ax: as in `plot_eigenvalues`.

    Returns:
        The `Axes` of the eigenvalues.
    """
    check_has("spectrum", spectrum, "eigenvalues", "energy")
    return plot_eigenvalues(spectrum.eigenvalues, spectrum.energy, ax)


def plot_eigenvalues(
    eigenvalues: ArrayLike, energy: ArrayLike, ax: Axes | None = None
) -> Axes:
    """Eigenvalues of a kernel, and the share of the targets along the largest ones.

    Args:
        eigenvalues: `(n,)`, or of a kernel an output `(n, k)`, which are sorted
            together.
        energy: squared projections of the targets, of the same shape; of outputs that
            share the kernel `(n, k)`, which are added up.
        ax: Matplotlib `Axes` for the eigenvalues; the shares have an axis of their own
            on the right. `None`: of a new figure.

    Returns:
        The `Axes` of the eigenvalues.
    """
    values, energies = np.asarray(eigenvalues), np.asarray(energy)
    alike = values.shape[:1] == energies.shape[:1] != ()
    if not alike or not values.ndim <= energies.ndim <= 2:
        raise ValueError(
            "`eigenvalues` must be `(n,)` or `(n, k)`, and `energy` of their length. "
            f"Received: shapes {values.shape} and {energies.shape}"
        )
    if values.shape != energies.shape:
        energies = energies.sum(axis=1)
    order = np.argsort(-values, axis=None)
    values, energies = values.ravel()[order], energies.ravel()[order]
    ax = _axes(ax)
    index = np.arange(1, len(order) + 1)
    # By rounding the last may be below 0, where a logarithmic axis has no place.
    shown = np.where(values > 0, values, np.nan)
    (left,) = ax.plot(index, shown, color="#000000", label="eigenvalue")
    ax.set(xscale="log", yscale="log", xlabel="index", ylabel="eigenvalue")
    ax.grid(alpha=0.3)
    right = ax.twinx()
    total = energies.sum()
    share = np.cumsum(energies) / (total if total > 0 else 1.0)
    (other,) = right.plot(
        index, share, color="#666666", linestyle="--", label="targets' energy so far"
    )
    right.set(ylim=(0, 1.02), ylabel="cumulative share of the targets' energy")
    # The upper right corner has neither curve at its steep end.
    right.legend(handles=[left, other], loc="lower center", frameon=True)
    return ax


def plot_margins(
    margins: Mapping[str, Sequence[float] | NDArray[np.float64]],
    ax: Axes | None = None,
) -> Axes:
    """The share of examples with a margin of at most so much, a line each.

    Args:
        margins: for each name its margins `(n,)`, as `keras_kd.complexity.margins`
            gives them.
        ax: Matplotlib `Axes`; `None`: of a new figure.

    Returns:
        The `Axes`.

    Raises:
        ValueError: there are no margins.
    """
    arrays = check_named_numbers("margins", margins)
    if not arrays or any(len(values) == 0 for values in arrays.values()):
        raise ValueError(
            "`margins` must be arrays of at least one margin, by name. "
            f"Received: {list(arrays)}, some of them empty"
        )
    ax = _axes(ax)
    for (name, values), (colour, style, _) in zip(
        arrays.items(), itertools.cycle(LINES), strict=False
    ):
        ax.ecdf(values, color=colour, linestyle=style, label=name)
    # To the left of it what is misclassified.
    ax.axvline(0, color="#000000", linewidth=0.8, alpha=0.6)
    ax.set(xlabel="margin", ylabel="share of examples with at most this margin")
    ax.grid(alpha=0.3)
    ax.legend(frameon=False)
    return ax


def plot_bound(bounds: Mapping[str, HasTerms], ax: Axes | None = None) -> Axes:
    """The terms of bounds, stacked, a bar for each.

    Args:
        bounds: by name, as `keras_kd.complexity.distillation_bound` gives them.
        ax: Matplotlib `Axes`; `None`: of a new figure.

    Returns:
        The `Axes`.

    Raises:
        ValueError: there is no bound.
    """
    if not isinstance(bounds, Mapping) or not bounds:
        raise ValueError(f"`bounds` must hold at least one. Received: bounds={bounds}")
    new = ax is None
    ax = _axes(ax, max(3.0, 1.4 + 0.35 * len(bounds)))
    places = np.arange(len(bounds))
    ends = np.zeros(len(bounds))
    for term, (label, colour, hatch) in _TERMS.items():
        sizes = np.array([bound.terms.get(term, 0.0) for bound in bounds.values()])
        if not sizes.any():
            continue
        ax.barh(
            places,
            sizes,
            left=ends,
            color=colour,
            hatch=hatch,
            edgecolor="#000000",
            linewidth=0.8,
            label=label,
        )
        ends += sizes
    ax.axvline(1, color="#000000", linestyle="--", label="from 1 on: says nothing")
    for place, end in zip(places, ends, strict=True):
        white = {"facecolor": "#ffffff", "edgecolor": "none", "pad": 1}
        ax.annotate(
            f"{end:.2f}",
            (end, place),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            bbox=white,
        )
    ax.set_yticks(places, [_with_validity(*item) for item in bounds.items()])
    ax.invert_yaxis()
    ax.set(xlim=(0, 1.2 * max(1.0, ends.max())), xlabel=_bounded(bounds))
    if new:
        ax.figure.legend(loc="outside upper center", ncols=3, frameon=False)
    else:
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False)
    return ax


def plot_report(
    report: CanPlot, column: str | None = None, ax: Axes | None = None
) -> Axes:
    """A teacher report as a heat map: teachers and stages by temperatures.

    The darker, the better; a frame is around the best.

    Args:
        report: as `keras_kd.complexity.compare_teachers` gives it.
        column: what to show, one of its columns; `None`: the one that ranks.
        ax: Matplotlib `Axes`; `None`: of a new figure.

    Returns:
        The `Axes`.

    Raises:
        ValueError: `column` is none of the report's, or it was not measured.
    """
    check_has("report", report, "plot")
    return report.plot(column, ax)


def plot_heat_map(
    table: ArrayLike,
    rows: Sequence[str],
    columns: Sequence[str],
    label: str,
    more_is_better: bool = True,
    ax: Axes | None = None,
    texts: ArrayLike | None = None,
) -> Axes:
    """A table as a heat map: the darker the better, with a frame around the best.

    Args:
        table: `(rows, columns)`; `NaN`: there is no value.
        rows: their names.
        columns: their names.
        label: what the numbers are.
        more_is_better: whether the largest is the best.
        ax: Matplotlib `Axes`; `None`: of a new figure.
        texts: what each cell reads, of the shape of `table`; what reads as the best has
            a frame, too, and a table of one reading is one grey. `None`: three digits.

    Returns:
        The `Axes`.
    """
    table = np.asarray(table, float)
    if table.shape != (len(rows), len(columns)):
        raise ValueError(
            f"`table` must be of {len(rows)} `rows` and {len(columns)} `columns`. "
            f"Received: shape {table.shape}"
        )
    numbers = [f"{value:.3g}" for value in table.ravel()]
    read = np.asarray(numbers if texts is None else texts, str).reshape(table.shape)
    best = np.nanargmax(table) if more_is_better else np.nanargmin(table)
    as_best = ~np.isnan(table) & (read == read.ravel()[best])
    one_grey = bool((as_best | np.isnan(table)).all())
    middle = table.ravel()[best]
    ax = _axes(ax, max(3.0, 1.4 + 0.28 * min(len(rows), _MOST_ROWS)))
    image = ax.imshow(
        table,
        cmap="Greys" if more_is_better else "Greys_r",
        aspect="auto",
        vmin=middle - 1 if one_grey else None,
        vmax=middle + 1 if one_grey else None,
    )
    bar = ax.figure.colorbar(image, ax=ax, label=label)
    if not more_is_better:
        bar.ax.invert_yaxis()
    if one_grey:
        bar.set_ticks([middle], labels=[read.ravel()[best]])
    if len(rows) <= _MOST_ROWS:
        for (y, x), value in np.ndenumerate(table):
            if np.isnan(value):
                ax.text(x, y, "none", ha="center", va="center")
                continue
            dark = image.cmap(image.norm(value))[0] < 0.5
            ax.text(
                x,
                y,
                str(read[y, x]),
                ha="center",
                va="center",
                color="#ffffff" if dark else "#000000",
            )
    # Where all are the best, none is.
    for y, x in np.argwhere(as_best & (not one_grey)):
        # White within black, so that it stands out from any grey.
        for width, colour in ((4, "#000000"), (1.5, "#ffffff")):
            ax.add_patch(_frame(x, y, width, colour))
    step = -(-len(rows) // _MOST_ROWS)
    ax.set_yticks(np.arange(0, len(rows), step), rows[::step])
    ax.set_xticks(np.arange(len(columns)), columns)
    return ax


def _axes(ax: Axes | None, height: float = 4.8) -> Axes:
    if ax is not None:
        check_has("ax", ax, "plot")
        return ax
    from matplotlib import pyplot

    return pyplot.subplots(figsize=(6.4, height), layout="constrained")[1]


def _differ_in_size(lines: Collection[NDArray[np.float64]]) -> bool:
    """Whether a curve would be flat beside another one on a linear axis."""
    heights = [np.nanmax(line) for line in lines if not np.isnan(line).all()]
    positive = all(np.nanmin(line, initial=np.inf) > 0 for line in lines)
    return bool(positive and len(heights) > 1 and max(heights) > 20 * min(heights))


def _frame(x: float, y: float, width: float, colour: str) -> Rectangle:
    from matplotlib.patches import Rectangle

    return Rectangle(
        (x - 0.46, y - 0.42), 0.92, 0.84, fill=False, ec=colour, linewidth=width
    )


def _with_validity(name: str, bound: HasTerms) -> str:
    return name if bound.valid else f"{name} *"


def _bounded(bounds: Mapping[str, HasTerms]) -> str:
    what = " and ".join(dict.fromkeys(bound.bounds for bound in bounds.values()))
    valid = all(bound.valid for bound in bounds.values())
    return f"bound on the {what}" + ("" if valid else "\n(*: no guarantee)")
