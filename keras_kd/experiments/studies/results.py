"""Results: a JSON line for each finished cell of a study."""

import json
import math
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from keras_kd.experiments.studies.methods import METHODS
from keras_kd.experiments.studies.seals import KEY, damaged
from keras_kd.files import append_line, check_name, json_sha256, parse_json

T = TypeVar("T")

RESULTS = "results.jsonl"
# What the recipe was that the results are of.
RECIPE = "recipe.json"


# Of every finished training, and of a student's.
_FIELDS: dict[str, Any] = {
    "recipe": str,
    "cell": str,
    "setting": str,
    "data": str,
    "student": str,
    "method": str,
    "learning_rate": float | int,
    "seed": int,
    "test_accuracy": float | int,
    "seconds": float | int,
    "history": dict,
    "versions": dict,
}
_FIELDS_OF_STUDENTS: dict[str, Any] = {
    "n_train": int,
    "label_noise": float | int,
    "parameters": int,
    "temperature": float | int | None,
    "spacing": int,
    "validation_accuracy": float | int | None,
    "fidelity": float | int | None,
    "ntk_similarity": float | int | None,
}
_WAY_OUT = "Delete that line: `keras-kd run` makes the result anew."


def append(file: Path, record: dict[str, Any]) -> None:
    """Adds a line, which ends with its own checksum, on disk when this returns.

    What a crash left of a line is written over.
    """
    record = finite(record)
    append_line(file, json.dumps({**record, KEY: json_sha256(record)}, allow_nan=False))


def read(file: str | Path) -> list[dict[str, Any]]:
    """The finished cells, in the order in which they ended, each once.

    A last line without its end is that of a cell that had not finished: it is left out,
    with a warning. Of lines of one cell the first counts.

    Raises:
        ValueError: a line is damaged: the message names it, and the way out.
    """
    file = Path(file)
    if not file.exists():
        return []
    content = file.read_bytes()
    whole, end, torn = content.rpartition(b"\n")
    if torn:
        if not end and not torn.strip(b"\0"):
            way_out = "Delete it: `keras-kd run` makes the results anew."
            raise damaged(file, "it holds nothing but zeros", way_out)
        warnings.warn(
            f"The last line of '{file}' has no end and is left out: the run was "
            "stopped while it was written. `keras-kd run` goes on there.",
            stacklevel=2,
        )
    records: dict[Any, dict[str, Any]] = {}
    for number, line in enumerate(whole.split(b"\n") if end else [], 1):
        record = _record(line, number, file)
        records.setdefault(record.get("cell", number), record)
    return list(records.values())


def read_study(folder: Path) -> list[dict[str, Any]]:
    """What `read` gives, of a study's folder, with all that a report needs.

    Raises:
        ValueError: a line is damaged, or lacks something: the message names it, and
            the way out.
    """
    file = folder / RESULTS
    records = read(file)
    for record in records:
        where = f"the result of '{record.get('cell')!s:.80}'"
        fields = _FIELDS
        if record.get("method") != "teacher":
            fields = _FIELDS | _FIELDS_OF_STUDENTS
        for name, kind in fields.items():
            if name not in record:
                raise damaged(file, f"{where} has no '{name}'", _WAY_OUT)
            if not isinstance(record[name], kind):
                received = f"{name}={record[name]!r:.80}"
                raise damaged(file, f"{where} has {received}", _WAY_OUT)
        if record["method"] not in ("teacher", *METHODS):
            reason = f"{where} has method={record['method']!r:.80}"
            raise damaged(file, reason, _WAY_OUT)
        if not isinstance(record["versions"].get("backend"), str):
            reason = f"{where} has no 'backend' in 'versions'"
            raise damaged(file, reason, _WAY_OUT)
        check_name(record["recipe"], file)
    return records


def _record(line: bytes, number: int, file: Path) -> dict[str, Any]:
    try:
        record = parse_json(line.decode())
    except ValueError as error:
        reason = f"line {number} is no JSON ({error}): {line[:60]!r}"
        raise damaged(file, reason, _WAY_OUT) from None
    if not isinstance(record, dict):
        raise damaged(file, f"line {number} holds no fields", _WAY_OUT)
    sealed = record.pop(KEY, None)
    if sealed is not None and sealed != json_sha256(record):
        reason = f"line {number} is not what its checksum says"
        raise damaged(file, reason, _WAY_OUT)
    return record


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
