"""When a kernel is too near to singular, and the ridge that would do."""

import math
import warnings
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from keras_kd.arguments import check_choice

IllConditioned: TypeAlias = Literal["error", "warn"]


def rounding_of(dtype: DTypeLike, size: int, largest: float) -> float:
    r"""The least eigenvalue that is not noise, $\sqrt{n}\,\epsilon\,\lambda_1$.

    Roundings of sums are as good as independent, so that a matrix of them grows with
    the root of its size.

    Args:
        dtype: in which the kernel's entries were summed.
        size: `n`, of the matrix.
        largest: its largest eigenvalue.
    """
    dtype = np.dtype(dtype)
    eps = float(np.finfo(dtype if dtype.kind == "f" else np.float64).eps)
    return math.sqrt(size) * max(eps, float(np.finfo(np.float64).eps)) * largest


def check_ill_conditioned(value: object) -> None:
    """Refuses what is neither `"error"` nor `"warn"`.

    Raises:
        ValueError: names the argument and the value.
    """
    check_choice(
        "ill_conditioned", value, ("error", "warn"), expected="'error' or 'warn'"
    )


def sufficient_ridge(smallest: float, rounding: float, ridge: float) -> float:
    """A ridge that lifts the smallest eigenvalue to twice the rounding.

    Args:
        smallest: eigenvalue, with `ridge`.
        rounding: what it must be above.
        ridge: the present one.

    Returns:
        Float, rounded up to two digits.
    """
    needed = ridge + 2 * rounding - smallest
    unit = 10.0 ** (math.floor(math.log10(needed)) - 1)
    return float(f"{math.ceil(needed / unit) * unit:.6g}")


def refuse(
    smallest: float,
    rounding: float,
    ridge: float,
    dtype: DTypeLike,
    ill_conditioned: IllConditioned,
) -> float:
    """Raises, or warns and returns the ridge to go on with.

    Args:
        smallest: eigenvalue, with `ridge`.
        rounding: what it must be above.
        ridge: the present one.
        dtype: in which the kernel's entries were summed.
        ill_conditioned: `"error"` or `"warn"`.

    Raises:
        ValueError: `ill_conditioned` is `"error"`.
    """
    enough = sufficient_ridge(smallest, rounding, ridge)
    message = (
        "The smallest eigenvalue of `kernel` + `ridge` must be above the kernel's "
        f"rounding, {rounding:.2g} in {np.dtype(dtype)}. "
        f"Received: {smallest:.2g} with ridge={ridge:g}. ridge={enough:g} would do"
    )
    if np.dtype(dtype).itemsize < 8:
        message += "; so may a kernel made with accumulate='float64'"
    if ill_conditioned == "error":
        raise ValueError(message + ".")
    warnings.warn(message + f". Going on with ridge={enough:g}.", stacklevel=2)
    return enough
