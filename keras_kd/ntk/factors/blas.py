"""Symmetric and rectangular matrix products, added to an array in place.

A symmetric product is half of the work, but BLAS does it at the speed of a rectangular
one only where it is small: so a large one is a row of small ones and the rectangles
beside them. SciPy's rectangular product adds to its result without a temporary.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas

# Examples a symmetric product.
_PANEL = 512


def panels(n: int) -> Iterator[slice]:
    """`n` rows, so many at a time as BLAS multiplies fast."""
    for i in range(0, n, _PANEL):
        yield slice(i, min(i + _PANEL, n))


def triangle(n: int) -> Iterator[tuple[slice, slice]]:
    """The rows and columns of the tiles on and above the diagonal."""
    for panel in panels(n):
        yield panel, panel
        if panel.stop < n:
            yield panel, slice(panel.stop, n)


def add_gram(total: NDArray[Any], rows: NDArray[Any]) -> None:
    """`total += rows @ rows.T`, in the lower triangle alone.

    Args:
        total: `(n, n)`, Fortran order, float32 or float64.
        rows: `(n, p)`, C order, of the same dtype.
    """
    for i, j in triangle(len(rows)):
        # NumPy makes a symmetric product of a matrix and its own transpose.
        total.T[i, j] += rows[i] @ rows[j].T


def add_product(total: NDArray[Any], left: NDArray[Any], right: NDArray[Any]) -> None:
    """`total += left @ right.T`.

    Args:
        total: `(n, m)`, Fortran order, float32 or float64.
        left: `(n, p)`, C order, of the same dtype.
        right: `(m, p)`, likewise.
    """
    function = blas.sgemm if total.dtype == np.float32 else blas.dgemm
    function(
        1.0,
        left.T,
        right.T,
        beta=1.0,
        c=total,
        trans_a=1,
        overwrite_c=_in_place(total),
    )


def _in_place(total: NDArray[Any]) -> int:
    # SciPy would silently add to a copy.
    if not total.flags.f_contiguous:
        raise ValueError(
            f"`total` must be in Fortran order. Received: strides {total.strides}"
        )
    return 1
