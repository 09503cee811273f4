"""One way to check each kind of argument: it returns what is meant, or says why not."""

import math
import numbers
import operator
import os
from collections.abc import Collection, Hashable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_COLDEST = 1e-6
# An error is read in a terminal: what is longer than this is not repeated in it.
_LONGEST = 120


def shown(value: object) -> str:
    """`value` for an error: its `repr`, where that is short, else what it is.

    Of an array or tensor that is its shape and type, of the rest the beginning.
    """
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple | list) and not isinstance(value, type):
        if math.prod(int(d or 1) for d in shape) > 8:
            dtype = getattr(value, "dtype", "unknown")
            kind = type(value).__name__
            return f"{kind} of shape {tuple(shape)} and dtype {dtype}"
        value_as_text = " ".join(repr(value).split())
    elif isinstance(value, list | tuple | range) and len(value) > 8:
        first = ", ".join(shown(item) for item in value[:3])
        value_as_text = f"{type(value).__name__} of {len(value)}: {first}, ..."
    else:
        value_as_text = repr(value)
    if len(value_as_text) > _LONGEST:
        return f"{value_as_text[:_LONGEST]}..."
    return value_as_text


def check_number(
    argument: str,
    value: object,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
    *,
    expected: str | None = None,
) -> float:
    """`value` as a float, refused where it is not a finite number in its range.

    Numbers of NumPy are numbers, booleans are not.

    Args:
        argument: its name.
        value: what was given for it.
        above: it must be larger.
        at_least: it must be as large.
        below: it must be smaller.
        expected: what it must be, in other words than those of the range.

    Raises:
        ValueError: names the argument, the range and the value.
    """
    number = _as_float(value)
    if not (math.isfinite(number) and _within(number, above, at_least, below)):
        limits = _limits(above, at_least, below)
        raise _refusal(argument, value, expected or f"a finite number {limits}".strip())
    return number


def check_integer(
    argument: str,
    value: object,
    *,
    above: int | None = None,
    at_least: int | None = None,
    below: int | None = None,
    expected: str | None = None,
) -> int:
    """`value` as an int, refused where it is not an integer in its range.

    Integers of NumPy are integers; booleans and `3.0` are not.

    Args:
        argument: its name.
        value: what was given for it.
        above: it must be larger.
        at_least: it must be as large.
        below: it must be smaller.
        expected: what an integer must be, in other words than those of the range.

    Raises:
        ValueError: names the argument, the range and the value.
    """
    return _checked_integer(
        argument, value, above, at_least, below, expected, "an integer"
    )


def is_integer(
    value: object,
    *,
    above: int | None = None,
    at_least: int | None = None,
    below: int | None = None,
) -> bool:
    """What `check_integer` asks, for those with a message of their own."""
    integer = _as_int(value)
    return integer is not None and _within(integer, above, at_least, below)


def check_integer_or_none(
    argument: str,
    value: object,
    *,
    above: int | None = None,
    at_least: int | None = None,
    below: int | None = None,
    expected: str | None = None,
) -> int | None:
    """`None`, or `value` as an int: `check_integer` where `None` means something too.

    Raises:
        ValueError: names the argument, the range and the value.
    """
    if value is None:
        return None
    return _checked_integer(
        argument, value, above, at_least, below, expected, "None or an integer"
    )


def check_fraction(
    argument: str, value: object, *, zero: bool = False, one: bool = False
) -> float:
    """`value` as a float between 0 and 1.

    Args:
        argument: its name.
        value: what was given for it.
        zero: whether it may be 0.
        one: whether it may be 1.

    Raises:
        ValueError: names the argument, the interval and the value.
    """
    number = _as_float(value)
    if not (0 < number < 1 or (zero and number == 0) or (one and number == 1)):
        interval = f"in {'[' if zero else '('}0, 1{']' if one else ')'}"
        raise _refusal(argument, value, interval)
    return number


def check_temperature(argument: str, value: object) -> float:
    """`value` as a temperature, in [1e-6, 1e6].

    Beyond, its square and that of logits over it are out of the range of float32.

    Raises:
        ValueError: names the argument, the range and the value.
    """
    number = check_number(argument, value, above=0)
    if not _COLDEST <= number <= 1 / _COLDEST:
        raise _refusal(argument, value, "in [1e-6, 1e6]")
    return number


def check_choice(
    argument: str,
    value: object,
    choices: Collection[object],
    *,
    expected: str | None = None,
) -> None:
    """Refuses a value that is none of `choices`.

    Raises:
        ValueError: names the argument, the choices and the value.
    """
    # What cannot be hashed, an array say, is no choice, and may not compare either.
    if not isinstance(value, Hashable) or value not in choices:
        raise _refusal(argument, value, expected or f"one of {list(choices)}")


def check_boolean(argument: str, value: object) -> bool:
    """`value` as a bool, refused where it is something that merely counts as one.

    Raises:
        ValueError: names the argument and the value.
    """
    if not _is_boolean(value):
        raise _refusal(argument, value, "True or False")
    return bool(value)


def check_layer_name(argument: str, value: object) -> None:
    """Refuses what is neither a layer's path nor `None`.

    Raises:
        ValueError: names the argument and the value.
    """
    if value is not None and not (isinstance(value, str) and value):
        raise _refusal(
            argument, value, "the name of a layer, or None for the model's outputs"
        )


def check_instance(
    argument: str, value: object, kind: type | tuple[type, ...], expected: str
) -> None:
    """Refuses what is nothing of a kind.

    Raises:
        ValueError: names the argument, what is expected and the value.
    """
    if not isinstance(value, kind):
        raise _refusal(argument, value, expected)


def check_has(argument: str, value: object, *attributes: str) -> None:
    """Refuses what lacks an attribute.

    Raises:
        ValueError: names the argument, the attributes and the value.
    """
    if not all(hasattr(value, name) for name in attributes):
        raise _refusal(argument, value, f"an object with {', '.join(attributes)}")


def check_examples(argument: str, value: object) -> None:
    """Refuses what has no examples one can count, such as a number or a text.

    Raises:
        ValueError: names the argument and the value.
    """
    shape = getattr(value, "shape", None)
    if isinstance(value, str | bytes) or shape == () or not hasattr(value, "__len__"):
        raise _refusal(argument, value, "an array or a sequence of examples")


def check_named_numbers(
    argument: str, value: object
) -> "dict[str, NDArray[np.float64]]":
    """`value` as a dict of names to arrays of numbers, `(n,)` each.

    Raises:
        ValueError: names the argument, and what is none.
    """
    import numpy as np  # for which the command line's help does not wait

    if not isinstance(value, Mapping):
        raise _refusal(argument, value, "a dict of names to sequences of numbers")
    arrays = {}
    for name, numbers_of_it in value.items():
        try:
            array = np.asarray(numbers_of_it, np.float64)
        except (TypeError, ValueError):
            array = np.empty(())
        if array.ndim != 1:
            place = f"{argument}[{name!r}]"
            raise _refusal(place, numbers_of_it, "a sequence of numbers")
        arrays[name] = array
    return arrays


def check_path(argument: str, value: object) -> Path:
    """`value` as a path.

    Raises:
        ValueError: it is neither a string, nor a path, or empty.
    """
    if not isinstance(value, str | os.PathLike) or not os.fspath(value):
        raise _refusal(argument, value, "a path")
    return Path(value)


def check_folder(argument: str, value: object) -> Path:
    """`value` as the path of a folder that is there or can be made.

    Raises:
        ValueError: it is no path, or a file.
    """
    folder = check_path(argument, value)
    if folder.exists() and not folder.is_dir():
        raise ValueError(
            f"`{argument}` must be a folder. Received: '{folder}', a file."
        )
    return folder


def _as_float(value: object) -> float:
    """NaN, which is in no range, for what is no number."""
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        return math.nan
    try:
        return float(value)
    except OverflowError:  # an integer beyond all floats
        return math.inf


def _is_boolean(value: object) -> bool:
    """Whether it is True or False, of Python or of NumPy."""
    if isinstance(value, bool):
        return True
    return getattr(value, "shape", None) == () and value.dtype == bool  # type: ignore[attr-defined]


def _as_int(value: object) -> int | None:
    if _is_boolean(value):
        return None
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return None


def _checked_integer(
    argument: str,
    value: object,
    above: int | None,
    at_least: int | None,
    below: int | None,
    expected: str | None,
    kind: str,
) -> int:
    integer = _as_int(value)
    if integer is not None and _within(integer, above, at_least, below):
        return integer
    words = f"{kind} {_limits(above, at_least, below)}".strip()
    # "> 0" alone would not tell what is wrong with 1.5.
    raise _refusal(argument, value, words if integer is None else expected or words)


def _within(
    number: float, above: float | None, at_least: float | None, below: float | None
) -> bool:
    return (
        (above is None or number > above)
        and (at_least is None or number >= at_least)
        and (below is None or number < below)
    )


def _limits(above: float | None, at_least: float | None, below: float | None) -> str:
    bounds = ((">", above), (">=", at_least), ("<", below))
    return " and ".join(
        f"{sign} {bound}" for sign, bound in bounds if bound is not None
    )


def _refusal(argument: str, value: object, expected: str) -> ValueError:
    return ValueError(
        f"`{argument}` must be {expected}. Received: {argument}={shown(value)}"
    )
