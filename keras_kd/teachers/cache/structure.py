"""Structures of dicts, lists and tuples as JSON holds them, which knows no tuples."""

from collections.abc import Callable
from typing import Any


def as_json(structure: Any, leaf: Callable[[Any], Any] = lambda value: value) -> Any:
    """A structure as JSON holds it; leaves by `leaf`.

    Example:

    >>> as_json({"a": (1, 2)})
    {'dict': {'a': {'tuple': [{'leaf': 1}, {'leaf': 2}]}}}
    """
    if isinstance(structure, dict):
        return {"dict": {key: as_json(v, leaf) for key, v in structure.items()}}
    if isinstance(structure, list | tuple):
        kind = "list" if isinstance(structure, list) else "tuple"
        return {kind: [as_json(value, leaf) for value in structure]}
    return {"leaf": leaf(structure)}


def from_json(content: Any, leaf: Callable[[Any], Any] = lambda value: value) -> Any:
    """The structure that `as_json` wrote, each leaf passed through `leaf`.

    Example:

    >>> from_json(as_json({"a": (1, 2)}))
    {'a': (1, 2)}
    """
    ((kind, value),) = content.items()
    if kind == "dict":
        return {key: from_json(item, leaf) for key, item in value.items()}
    if kind == "leaf":
        return leaf(value)
    items = [from_json(item, leaf) for item in value]
    return items if kind == "list" else tuple(items)
