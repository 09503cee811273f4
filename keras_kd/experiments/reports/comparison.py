"""Comparison: what online distillation gains over offline, seed by seed."""

import dataclasses
from collections.abc import Iterable
from typing import Any

from scipy.stats import t as student_t

from keras_kd.experiments.mean_and_error import mean_and_standard_error
from keras_kd.experiments.studies.methods import METHODS, title
from keras_kd.experiments.studies.results import grouped

CONFIDENCE = 0.95


@dataclasses.dataclass(frozen=True)
class Difference:
    """Test accuracy of one method minus that of another with the same seeds.

    The same seed gives both students the same initial weights, order of images and
    teacher, so that most of what differs between seeds is not in the difference.

    Attributes:
        data: the images.
        student: the architecture.
        temperature: of the soft targets.
        spacing: epochs between the checkpoints of `method`.
        method: the one.
        baseline: the other.
        values: the differences, in percentage points, one for each seed.
    """

    data: str
    student: str
    temperature: float
    spacing: int
    method: str
    baseline: str
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Of the differences, in percentage points."""
        return mean_and_standard_error(self.values)[0]

    @property
    def error(self) -> float | None:
        """The mean's standard error; `None` with one seed."""
        return mean_and_standard_error(self.values)[1]

    @property
    def half_width(self) -> float | None:
        """Of Student's 95 % interval around the mean; `None` with one seed."""
        if self.error is None:
            return None
        # Of the unit error, since the error may be 0.
        _, reach = student_t.interval(CONFIDENCE, len(self.values) - 1)
        return float(reach) * self.error

    @property
    def verdict(self) -> str:
        """`"wins"` or `"loses"` where Student's 95 % interval leaves out 0.

        Of less than three seeds nothing is said: two that agree by chance would win.
        """
        if self.half_width is None or len(self.values) < 3:
            return "too few seeds"
        if abs(self.mean) <= self.half_width:
            return "ties"
        return "wins" if self.mean > 0 else "loses"


def online_against_offline(records: Iterable[dict[str, Any]]) -> list[Difference]:
    """Each online method beside the final teacher at the same temperature.

    Averaged checkpoints are set beside the final average too, where it is there.

    Args:
        records: students at their chosen learning rates.
    """
    accuracies = {
        (*key, r["seed"]): r["test_accuracy"]
        for key, group in grouped(records, _key).items()
        for r in group
    }
    differences = []
    for key in dict.fromkeys(k[:-1] for k in accuracies):
        data, student, temperature, spacing, method = key
        if not METHODS[method].online:
            continue
        baselines = ["offline"]
        if METHODS[method].averaged:
            baselines.append("offline_averaged")
        for baseline in baselines:
            values = tuple(
                100 * (accuracy - accuracies[other])
                for (*of, seed), accuracy in accuracies.items()
                if tuple(of) == key
                for other in [(data, student, temperature, 1, baseline, seed)]
                if other in accuracies
            )
            if values:
                differences.append(
                    Difference(
                        data, student, temperature, spacing, method, baseline, values
                    )
                )
    return differences


def markdown(differences: Iterable[Difference]) -> list[str]:
    """Lines of a Markdown table."""
    lines = [
        "| data | student | T | online | beside | points | seeds | 95 % |",
        "|---|---|---:|---|---|---:|---:|---|",
    ]
    for d in differences:
        # Not -0.00.
        points = f"{round(d.mean, 2) + 0.0:+.2f}" + (
            "" if d.error is None else f" ± {d.error:.2f}"
        )
        lines.append(
            f"| {d.data} | {d.student} | {d.temperature:g} | "
            f"{title(d.method, d.spacing)} | {title(d.baseline)} | {points} | "
            f"{len(d.values)} | {d.verdict} |"
        )
    return lines


def _key(record: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(
        record[name] for name in ("data", "student", "temperature", "spacing", "method")
    )
