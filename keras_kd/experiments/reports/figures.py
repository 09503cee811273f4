"""The figures of studies, each drawn where a study has what it takes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import sem, spearmanr

from keras_kd.experiments.mean_and_error import mean_and_standard_error
from keras_kd.experiments.reports.comparison import Difference
from keras_kd.experiments.studies.methods import METHODS, title
from keras_kd.experiments.studies.results import grouped
from keras_kd.plots import LINES, plot_complexity

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

Records = list[dict[str, Any]]
_PREFIX = "complexity_"
# One for each method.
_MARKERS = "os^Dvx+*<h>Pd"


def complexity(records: Records) -> Figure | None:
    """Adjusted supervision complexity under the student's NTK over training.

    A panel for each setting: the mean over its seeds, the standard error as a band.
    """
    watched = [r for r in records if any(k.startswith(_PREFIX) for k in r["history"])]
    if not watched:
        return None
    settings = grouped(watched, lambda r: r["setting"])
    figure, axes = _panels(len(settings))
    for group, ax in zip(settings.values(), axes, strict=True):
        first = group[0]
        means, errors = {}, {}
        for key in first["history"]:
            if key.startswith(_PREFIX):
                # Seeds by epochs; what is undefined leaves a gap.
                lines = np.array([r["history"][key] for r in group], float)
                name = key.removeprefix(_PREFIX)
                means[name] = lines.mean(axis=0)
                if len(group) > 1:
                    errors[name] = sem(lines)
        plot_complexity(means, ax=ax, errors=errors or None)
        name = title(first["method"], first["spacing"])
        where = _where(first, watched, "data", "student")
        ax.set_title(f"{where}{name}, {_temperature(first)}")
    return figure


def spacing(records: Records) -> Figure | None:
    """Test accuracy against the epochs from one recorded checkpoint to the next."""
    if len({r["spacing"] for r in records}) < 2:
        return None
    figure, (ax,) = _panels(1)
    lines = itertools.cycle(LINES)
    for (where, *key), group in grouped(
        records,
        lambda r: (
            _where(r, records, "data", "student"),
            r["method"],
            r["temperature"],
        ),
    ).items():
        by_spacing = grouped(group, lambda r: r["spacing"])
        label = where + _label(*key)
        colour, style, marker = next(lines)
        if len(by_spacing) > 1:
            _errorbars(ax, by_spacing, label, colour, style, marker)
        else:
            mean, _ = mean_and_standard_error(_accuracies(group))
            ax.axhline(mean, color=colour, linestyle=style, label=label)
    ax.set_xscale("log")
    values = sorted({r["spacing"] for r in records})
    ax.set_xticks(values, [str(v) for v in values], minor=False)
    ax.set_xticks([], minor=True)
    ax.set(xlabel="epochs between checkpoints", ylabel="test accuracy (%)")
    ax.legend(frameon=False)
    return figure


def gain(records: Records) -> Figure | None:
    """Gain of online over offline against what a study varies."""
    axis = _varied(records)
    if axis is None:
        return None
    key, label = axis
    figure, (ax,) = _panels(1)
    lines = itertools.cycle(LINES)
    pair = ("data", "student", "seed", "temperature")
    offline = {
        tuple(r[name] for name in pair): r["test_accuracy"]
        for r in records
        if r["method"] == "offline"
    }
    # What the axis does not tell apart has lines of its own.
    other = "data" if key == "parameters" else "student"
    for (where, method, temperature), group in grouped(
        (r for r in records if METHODS[r["method"]].online and r["spacing"] == 1),
        lambda r: (_where(r, records, other), r["method"], r["temperature"]),
    ).items():
        points: dict[Any, list[float]] = {}
        for r in group:
            base = offline.get(tuple(r[name] for name in pair))
            if base is not None:
                points.setdefault(r[key], []).append(r["test_accuracy"] - base)
        if points:
            _line(ax, points, where + _label(method, temperature), *next(lines))
    if not ax.lines:
        return None
    ax.axhline(0, color="#999999", linewidth=0.8)
    ax.set(xlabel=label, ylabel="online minus offline, same seed (points)")
    if key != "label_noise":
        ax.set_xscale("log")
        values = sorted({r[key] for r in records})
        ax.set_xticks(values, [f"{v:,}" for v in values])
        ax.set_xticks([], minor=True)
    ax.legend(frameon=False)
    return figure


def agreement(records: Records) -> Figure | None:
    """Fidelity and NTK similarity against test accuracy, a point for each student.

    The marker says the method, and where there are several temperatures, what it is
    filled with the temperature.
    """
    columns = {
        "fidelity": "fidelity: agreement with the final teacher (%)",
        "ntk_similarity": "similarity to the teacher's NTK",
    }
    of_teacher = [r for r in records if all(r[c] is not None for c in columns)]
    if len(of_teacher) < 3:
        return None
    # Each data set and student has its own row.
    places = grouped(of_teacher, lambda r: _where(r, of_teacher, "data", "student"))
    panels = [(*place, *of) for place in places.items() for of in columns.items()]
    temperatures = sorted({r["temperature"] for r in of_teacher} - {None})
    figure, axes = _panels(len(panels))
    for ax, (where, points, column, label) in zip(axes, panels, strict=True):
        scale = 100 if column == "fidelity" else 1
        for (method, temperature), group in grouped(
            points, lambda r: (r["method"], r["temperature"])
        ).items():
            ax.plot(
                [scale * r[column] for r in group],
                _accuracies(group),
                linestyle="",
                marker=_MARKERS[list(METHODS).index(method)],
                **_of_temperature(temperature, temperatures),
            )
        ax.set(xlabel=label, ylabel="test accuracy (%)")
        pairs = [r[column] for r in points], _accuracies(points)
        # It is not defined where one of them is constant.
        if all(len(set(values)) > 1 for values in pairs):
            order = spearmanr(*pairs).statistic
            ax.set_title(f"{where}Spearman's correlation {order:.2f}")
    present = {r["method"] for r in of_teacher}
    handles: list[Line2D | Patch] = [
        _point(marker, title(method), **_of_temperature(None, temperatures))
        for method, marker in zip(METHODS, _MARKERS, strict=True)
        if method in present
    ]
    if len(temperatures) > 1:
        for temperature in temperatures:
            style = _of_temperature(temperature, temperatures)
            inside = style["color"] if style["fillstyle"] == "full" else "none"
            handles.append(_patch(inside, style["color"], f"T = {temperature:g}"))
    figure.legend(handles=handles, loc="outside right")  # type: ignore[call-overload]
    return figure


def _of_temperature(
    temperature: float | None, temperatures: list[float]
) -> dict[str, Any]:
    """How a point of one temperature is drawn: hollow, then filled, ever lighter."""
    i = 0 if temperature is None else temperatures.index(temperature)
    grey = i / len(temperatures) if i else 0
    return {"color": str(grey), "fillstyle": "full" if i else "none"}


def _point(marker: str, label: str, **style: Any) -> Line2D:
    from matplotlib.lines import Line2D

    return Line2D([], [], linestyle="", marker=marker, label=label, **style)


def _patch(inside: str, edge: str, label: str) -> Patch:
    from matplotlib.patches import Patch

    return Patch(facecolor=inside, edgecolor=edge, label=label)


def differences(studies: Mapping[str, Sequence[Difference]]) -> Figure:
    """What online gains over offline: a panel for each temperature, in it a row for
    each study, data set and student. Thick: the standard error; thin: Student's 95 %.

    Args:
        studies: their differences beside one baseline.
    """
    points = [(name, d) for name, of in studies.items() for d in of]
    rows = list(dict.fromkeys((name, d.data, d.student) for name, d in points))
    methods = list(dict.fromkeys((d.method, d.spacing) for _, d in points))
    temperatures = sorted({d.temperature for _, d in points})
    figure, axes = _panels(len(temperatures), height=1.6 + 0.5 * len(rows))
    for ax, temperature in zip(axes, temperatures, strict=True):
        for name, d in points:
            if d.temperature != temperature:
                continue
            i = methods.index((d.method, d.spacing))
            # The methods of a row below each other.
            y = rows.index((name, d.data, d.student)) + 0.8 * (
                (i + 0.5) / len(methods) - 0.5
            )
            colour, _, marker = LINES[i % len(LINES)]
            for reach, width in ((d.half_width, 0.8), (d.error, 2.5)):
                if reach is not None:
                    ends = [d.mean - reach, d.mean + reach]
                    ax.plot(ends, [y, y], color=colour, linewidth=width)
            label = title(d.method, d.spacing)
            ax.plot([d.mean], [y], marker, color=colour, markersize=5, label=label)
        ax.axvline(0, color="#000000", linewidth=0.8)
        # Most differences are below a point, and some are ten.
        ax.set_xscale("symlog", linthresh=1)
        reached = max(map(abs, ax.dataLim.intervalx))
        ticks = [x for x in (-30, -10, -3, -1, 0, 1, 3, 10, 30) if abs(x) <= reached]
        ax.set_xticks(ticks, [f"{x:+d}" if x else "0" for x in ticks])
        ax.set_ylim(len(rows) - 0.5, -0.5)
        ax.grid(visible=False, axis="y")
        for y in range(1, len(rows)):
            ax.axhline(y - 0.5, color="#cccccc", linewidth=0.8)
        ax.set(
            title=f"T = {temperature:g}",
            xlabel="online minus offline, same seed (points, log beyond 1)",
        )
        ax.set_yticks(range(len(rows)), [])
    axes[0].set_yticks(range(len(rows)), [f"{s}\n{d}, {n}" for s, d, n in rows])
    handles = {
        label: handle
        for ax in axes
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        list(handles.values()),
        list(handles),
        loc="outside lower center",
        ncols=4,
    )
    return figure


FIGURES: dict[str, Callable[[Records], Figure | None]] = {
    "complexity": complexity,
    "spacing": spacing,
    "gain": gain,
    "agreement": agreement,
}
CAPTIONS = {
    "complexity": "Adjusted supervision complexity of each target set under the "
    "student's NTK after each epoch: means over the seeds, standard errors as bands.",
    "spacing": "Means and standard errors over the seeds.",
    "gain": "Means and standard errors over the seeds.",
    "agreement": "A point for each student.",
}


def _varied(records: Records) -> tuple[str, str] | None:
    for key, label in (
        ("parameters", "parameters of the student"),
        ("n_train", "training images"),
        ("label_noise", "share of wrong labels"),
    ):
        if len({r[key] for r in records}) > 2:
            return key, label
    return None


def _accuracies(group: Iterable[dict[str, Any]]) -> list[float]:
    return [100 * r["test_accuracy"] for r in group]


def _errorbars(ax: Axes, by_value: dict[Any, Records], label: str, *line: Any) -> None:
    points = {value: _accuracies(group) for value, group in by_value.items()}
    _draw(ax, points, label, *line)


def _line(ax: Axes, points: dict[Any, list[float]], label: str, *line: Any) -> None:
    scaled = {value: [100 * v for v in of] for value, of in points.items()}
    _draw(ax, scaled, label, *line)


def _draw(
    ax: Axes,
    points: dict[Any, list[float]],
    label: str,
    colour: str,
    style: Any,
    marker: str,
) -> None:
    values = sorted(points)
    pairs = [mean_and_standard_error(points[value]) for value in values]
    ax.errorbar(
        values,
        [mean for mean, _ in pairs],
        [error or 0 for _, error in pairs],
        label=label,
        color=colour,
        linestyle=style,
        marker=marker,
        markersize=5,
        capsize=3,
    )


def _where(record: dict[str, Any], records: Records, *names: str) -> str:
    """Which data or student a record is of, if there are several."""
    several = [n for n in names if len({r[n] for r in records}) > 1]
    return "".join(f"{record[name]}, " for name in several)


def _label(method: str, temperature: float | None) -> str:
    name = title(method)
    return name if temperature is None else f"{name}, T = {temperature:g}"


def _temperature(record: dict[str, Any]) -> str:
    return f"T = {record['temperature']:g}"


def _panels(n: int, height: float = 4.2) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    columns = min(n, 2)
    rows = -(-n // columns)
    figure = Figure(figsize=(5.4 * columns + 0.6, height * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for ax in axes:
        ax.grid(alpha=0.3)
    for ax in axes[n:]:
        ax.remove()
    return figure, axes[:n]
