"""Values of a recipe as they are written on a command line, and read from it."""

import ast
import typing
from collections.abc import Sequence
from typing import Any

from keras_kd.experiments.studies.cell import Architecture


def kinds_of(of: type) -> dict[str, Any]:
    """The fields of a dataclass and the kinds of their values."""
    return typing.get_type_hints(of)


def value_of(key: str, text: str, kind: Any) -> Any:
    """What was written for a field.

    Args:
        key: the field, for the error.
        text: a number, a name, or several with commas between; an architecture is
            `lenet5` or `lenet5:0.5`, its width after the colon.
        kind: the field's type.

    Raises:
        ValueError: it is of another kind.
    """
    if typing.get_origin(kind) is tuple:
        inner = typing.get_args(kind)[0]
        parts: Sequence[str] = [part for part in text.split(",") if part]
        return tuple(value_of(key, part.strip(), inner) for part in parts)
    options = [kind, *typing.get_args(kind)]
    if type(None) in options and text == "None":
        return None
    if Architecture in options:
        network, _, width = text.partition(":")
        return Architecture(network, value_of(key, width, float) if width else None)
    if str in options:
        return text
    try:
        value = ast.literal_eval(text)
        if bool in options:
            if not isinstance(value, bool):
                raise ValueError
            return value
        number = float(value)
        if float in options:
            return number
        if isinstance(value, bool) or number != int(number):
            raise ValueError
        return int(number)
    except (
        *(ValueError, SyntaxError, TypeError),
        *(OverflowError, RecursionError, MemoryError),
    ):
        names = [o.__name__ for o in options if isinstance(o, type)]
        raise ValueError(
            f"`{key}` must be of the kind {' or '.join(names)}. "
            f"Received: {key}={text:.80}"
        ) from None


def written(value: Any) -> str:
    """A value of `recipe.json`, or of `asdict`, as `value_of` reads it."""
    if isinstance(value, list | tuple):
        return ",".join(map(written, value))
    if isinstance(value, dict):
        width = value["width"]
        return str(value["network"]) + ("" if width is None else f":{width:g}")
    return f"{value:g}" if isinstance(value, float) else str(value)
