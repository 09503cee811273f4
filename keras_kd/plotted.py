"""What the figures need to know of what they draw."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class HasSpectrum(Protocol):
    """What `plot_spectrum` needs to know."""

    @property
    def eigenvalues(self) -> NDArray[np.float64]: ...

    @property
    def energy(self) -> NDArray[np.float64]: ...


class HasTerms(Protocol):
    """What `plot_bound` needs to know of one bound."""

    @property
    def terms(self) -> Mapping[str, float]: ...

    @property
    def bounds(self) -> str: ...

    @property
    def valid(self) -> bool: ...


class CanPlot(Protocol):
    """What `plot_report` needs: a report that knows its table."""

    def plot(self, column: Any = None, ax: Axes | None = None) -> Axes: ...
