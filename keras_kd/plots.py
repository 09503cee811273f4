"""Figures of runs, drawn with matplotlib (`pip install keras-kd[plot]`)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from keras_kd.experiments.training import Run

COLOURS = {
    "teacher": "#777777",
    "none": "#1b9e77",
    "offline": "#d95f02",
    "online": "#7570b3",
    "together": "#e7298a",
}
LABELS = {"none": "no teacher", "teacher": "teacher"}


def plot_runs(runs: dict[str, list[Run]], file: str | Path, title: str) -> None:
    """Curves over epochs: test accuracy, and agreement with the teacher.

    Args:
        runs: for each method its runs, one a seed; lines are means, bands standard
            errors.
        file: the PNG (or other format that matplotlib knows) to write.
        title: above the figure.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    figure.suptitle(title)
    accuracy, fidelity = figure.subplots(1, 2)
    for method, of_method in runs.items():
        _curve(accuracy, method, [r.history.get("val_accuracy") for r in of_method])
        _curve(fidelity, method, [r.history.get("val_fidelity") for r in of_method])
    accuracy.set(xlabel="epoch", ylabel="test accuracy (%)")
    fidelity.set(xlabel="epoch", ylabel="agreement with the teacher in use (%)")
    for axes in (accuracy, fidelity):
        axes.grid(alpha=0.3)
        axes.legend(loc="lower right", frameon=False)
    figure.savefig(file, dpi=150)


def _curve(axes, method: str, histories: list[list[float] | None]) -> None:
    values = np.array([h for h in histories if h is not None])
    if values.size == 0:
        return
    mean = 100 * values.mean(axis=0)
    epochs = np.arange(1, len(mean) + 1)
    colour = COLOURS[method]
    style = "--" if method == "teacher" else "-"
    axes.plot(epochs, mean, style, color=colour, label=LABELS.get(method, method))
    if len(values) > 1:
        error = 100 * values.std(axis=0, ddof=1) / len(values) ** 0.5
        axes.fill_between(epochs, mean - error, mean + error, color=colour, alpha=0.2)
