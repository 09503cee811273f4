"""As many digits as tell the numbers of a column apart, and no more."""

import itertools
import math
from collections.abc import Sequence

_FEWEST, _MOST = 3, 5
# A relative difference up to here is none: two numbers farther apart read differently
# with so many digits.
_NOISE = 10.0 ** (1 - _MOST)
# Beyond, as powers of ten.
_LARGEST, _LEAST = 1e6, 1e-3


def readings(values: Sequence[float | None]) -> list[str]:
    """The numbers of a column as texts of one precision.

    Three significant digits of the largest, and up to five where with fewer two
    numbers would read the same that differ by more than 1e-4 of them.

    Args:
        values: of the column; `None` is an empty text.
    """
    known = [value for value in values if value is not None]
    if not known:
        return ["" for _ in values]
    largest = max(abs(value) for value in known)
    ways = []
    if _LEAST <= largest < _LARGEST:
        # First as decimals, which stand below each other.
        magnitude = math.floor(math.log10(largest))
        ways += [f".{max(0, d - 1 - magnitude)}f" for d in range(_FEWEST, _MOST + 1)]
    ways += [f".{digits}g" for digits in range(_FEWEST, _MOST + 1)]
    way = next((w for w in ways if _tells_apart(w, known)), ways[-1])
    return ["" if value is None else f"{value:{way}}" for value in values]


def _tells_apart(way: str, values: Sequence[float]) -> bool:
    order = sorted(values)
    return all(
        f"{low:{way}}" != f"{high:{way}}"
        for low, high in itertools.pairwise(order)
        if high - low > _NOISE * max(abs(low), abs(high))
    )
