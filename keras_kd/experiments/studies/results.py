"""Results: a JSON line for each finished cell of a study."""

import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from keras_kd.files import append_line

T = TypeVar("T")

RESULTS = "results.jsonl"
# What the recipe was that the results are of.
RECIPE = "recipe.json"


def append(file: Path, record: dict[str, Any]) -> None:
    """Adds a line, on disk when this returns.

    What a crash left of a line is written over.
    """
    append_line(file, json.dumps(finite(record), allow_nan=False))


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
