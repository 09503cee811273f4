"""Symmetric and rectangular matrix products, added to an array in place.

SciPy's BLAS adds to its result without a temporary, and its symmetric product does
half of the work.
"""

import numpy as np
from scipy.linalg import blas


def add_gram(total: np.ndarray, rows: np.ndarray) -> None:
    """`total += rows @ rows.T`, in the lower triangle alone.

    Args:
        total: `(n, n)`, Fortran order, float32 or float64.
        rows: `(n, p)`, C order, of the same dtype.
    """
    function = blas.ssyrk if total.dtype == np.float32 else blas.dsyrk
    function(
        1.0, rows.T, beta=1.0, c=total, trans=1, lower=1, overwrite_c=_in_place(total)
    )


def add_product(total: np.ndarray, left: np.ndarray, right: np.ndarray) -> None:
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


def _in_place(total) -> int:
    # SciPy would silently add to a copy.
    if not total.flags.f_contiguous:
        raise ValueError(
            f"`total` must be in Fortran order. Received: strides {total.strides}"
        )
    return 1
