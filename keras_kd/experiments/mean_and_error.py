"""What repetitions with other seeds give: a mean, and how sure it is."""

import statistics
from collections.abc import Sequence

from scipy.stats import sem


def mean_and_standard_error(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean, and its standard error if there are two values or more."""
    mean = statistics.fmean(values)
    return mean, float(sem(values)) if len(values) > 1 else None


def with_error(values: Sequence[float], digits: int) -> str:
    """Mean and standard error as tables have them, `"0.971 ± 0.002"`."""
    mean, error = mean_and_standard_error(values)
    text = f"{mean:.{digits}f}"
    return text if error is None else f"{text} ± {error:.{digits}f}"


def percent(shares: Sequence[float]) -> str:
    """Mean and standard error of shares in [0, 1] in percent, `"97.1 ± 0.2"`."""
    return with_error([100 * share for share in shares], 1)
