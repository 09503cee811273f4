"""As many digits as tell the numbers of a column apart, and no more."""

import itertools
import math
from collections.abc import Sequence

_FEWEST = 3
# Beyond, as powers of ten.
_LARGEST, _LEAST = 1e6, 1e-3


def readings(values: Sequence[float | None], most: int = 5) -> list[str]:
    """The numbers of a column as texts of one precision.

    Three significant digits of the largest, and more where with fewer two numbers
    would read the same that differ by more than `10^(1 - most)` of them, or, as far as
    that can be had, would read differently that differ by less.

    Args:
        values: of the column; `None` is an empty text.
        most: digits.
    """
    known = sorted(value for value in values if value is not None)
    if not known:
        return ["" for _ in values]
    largest = max(abs(known[0]), abs(known[-1]))
    ways = []
    if _LEAST <= largest < _LARGEST:
        # First as decimals, which stand below each other. Beside 1, the most that a
        # share can be, others have no less of them.
        magnitude = math.ceil(math.log10(largest)) - 1
        ways += [f".{max(0, d - 1 - magnitude)}f" for d in range(_FEWEST, most + 1)]
    ways += [f".{digits}g" for digits in range(_FEWEST, most + 1)]
    # Two numbers farther apart read differently with the last of them.
    noise = 10.0 ** (1 - most)
    pairs = list(itertools.pairwise(known))
    far = [pair for pair in pairs if _differ(*pair, noise)]
    near = [pair for pair in pairs if not _differ(*pair, noise)]
    telling = [w for w in ways if all(_text(a, w) != _text(b, w) for a, b in far)]
    alike = (w for w in telling if all(_text(a, w) == _text(b, w) for a, b in near))
    way = next(alike, telling[0])
    return ["" if value is None else _text(value, way) for value in values]


def _differ(low: float, high: float, noise: float) -> bool:
    return high - low > noise * max(abs(low), abs(high))


def _text(value: float, way: str) -> str:
    return f"{value:{way}}"
