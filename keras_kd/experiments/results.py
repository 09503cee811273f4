"""Results: a JSON line for each finished cell of a study."""

import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")

RESULTS = "results.jsonl"
# What the recipe was that the results are of.
RECIPE = "recipe.json"


def append(file: Path, record: dict[str, Any]) -> None:
    """Adds a line, on disk when this returns.

    What a crash left of a line is written over.
    """
    line = json.dumps(finite(record), allow_nan=False) + "\n"
    with file.open("a+b") as lines:
        lines.seek(0)
        lines.truncate(lines.read().rfind(b"\n") + 1)
        lines.write(line.encode())
        lines.flush()
        os.fsync(lines.fileno())


def read(file: str | Path) -> list[dict[str, Any]]:
    """The finished cells, in the order in which they ended.

    Raises:
        ValueError: a line is no JSON, and not for want of its end.
    """
    file = Path(file)
    if not file.exists():
        return []
    text = file.read_text()
    records = []
    # A line without its end is that of a cell that had not finished.
    for number, line in enumerate(text[: text.rfind("\n") + 1].splitlines(), 1):
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise ValueError(
                f"Line {number} of {file} must be JSON. Received: {line[:60]!r}"
            ) from error
    return records


class Rates(NamedTuple):
    """Learning rates of which each setting's is chosen, with the first seed.

    Attributes:
        rates: that are tried in any case. Where there is one, nothing is chosen.
        higher: that are tried one after the other, each while the highest so far was
            the best.
    """

    rates: Sequence[float]
    higher: Sequence[float] = ()

    def left(self, records: Iterable[dict[str, Any]], setting: str) -> list[float]:
        """The rates still to be tried, as far as is known by now.

        Args:
            records: of finished cells.
            setting: as `Cell.setting`.
        """
        scores = _validation(records, setting)
        left = [rate for rate in self.rates if rate not in scores]
        if left or len(self.rates) == 1:
            return left
        tried = list(self.rates)
        for rate in self.higher:
            if _best(scores, tried) != max(tried):
                return []
            if rate not in scores:
                return [rate]
            tried.append(rate)
        return []

    def chosen(self, records: Iterable[dict[str, Any]], setting: str) -> float | None:
        """The learning rate with which a setting did best on the validation images.

        Args:
            records: of finished cells.
            setting: as `Cell.setting`.

        Returns:
            The rate; `None` where the first seed has not finished with all of them.
        """
        if len(self.rates) == 1:
            return self.rates[0]
        records = list(records)
        if self.left(records, setting):
            return None
        scores = _validation(records, setting)
        return _best(scores, [r for r in (*self.rates, *self.higher) if r in scores])


def _validation(records, setting: str) -> dict[float, float]:
    return {
        r["learning_rate"]: r["validation_accuracy"]
        for r in records
        if r["setting"] == setting and r["seed"] == 0
    }


def _best(scores: dict[float, float], rates: Sequence[float]) -> float:
    # Of equals the lowest, which is the safest.
    return min(rates, key=lambda rate: (-scores[rate], rate))


def chosen(records: list[dict[str, Any]], rates: Rates) -> list[dict[str, Any]]:
    """The cells at the learning rates that were chosen; tables are made of these."""
    by_setting = {s: rates.chosen(records, s) for s in {r["setting"] for r in records}}
    return [r for r in records if r["learning_rate"] == by_setting[r["setting"]]]


def grouped(items: Iterable[T], key: Callable[[T], Any]) -> dict[Any, list[T]]:
    """Items by `key`, in the order in which keys first occur."""
    groups: dict[Any, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def finite(value: Any) -> Any:
    """As it is written: JSON has no NaN, what diverged is null."""
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def mean_and_standard_error(values: list[float]) -> tuple[float, float | None]:
    """Mean, and its standard error if there are two values or more."""
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return mean, None
    variance = math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1)
    return mean, math.sqrt(variance / len(values))


def of_setting(records: Iterable[dict[str, Any]], **values) -> Iterator[dict[str, Any]]:
    """The records that have these values."""
    return (r for r in records if all(r[k] == v for k, v in values.items()))
