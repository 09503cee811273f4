"""One way to check each kind of argument."""

import math
import numbers


def check_number(argument, value, above=None, at_least=None, below=None) -> float:
    """`value` as a float, refused where it is not a finite number in its range.

    Raises:
        ValueError: names the argument, the range and the value.
    """
    valid = (
        isinstance(value, numbers.Real)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and (above is None or value > above)
        and (at_least is None or value >= at_least)
        and (below is None or value < below)
    )
    if not valid:
        bounds = ((">", above), (">=", at_least), ("<", below))
        limits = " and ".join(f"{sign} {b}" for sign, b in bounds if b is not None)
        raise ValueError(
            f"`{argument}` must be a finite number {limits}. "
            f"Received: {argument}={value!r}"
        )
    return float(value)


def check_layer_name(argument, value) -> None:
    """Refuses what is neither a layer's path nor `None`.

    Raises:
        ValueError: names the argument and the value.
    """
    if value is not None and not (isinstance(value, str) and value):
        raise ValueError(
            f"`{argument}` must be the name of a layer, or None for the model's "
            f"outputs. Received: {argument}={value!r}"
        )


def check_choice(argument: str, value, choices) -> None:
    """Refuses a value that is none of `choices`."""
    if value not in choices:
        raise ValueError(
            f"`{argument}` must be one of {list(choices)}. Received: {argument}={value}"
        )
