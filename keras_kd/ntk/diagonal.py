"""The kernel's diagonal, in time linear in the examples."""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from keras_kd.ntk.arguments import (
    Accumulate,
    Implementation,
    check_accumulate,
    check_no_overflow,
)
from keras_kd.ntk.jacobian import FactoredJacobian
from keras_kd.ntk.outputs import Choice


def ntk_diagonal(
    model: keras.Model,
    x: Any,
    *,
    outputs: Choice = "trace",
    batch_size: int | None = None,
    implementation: Implementation = "auto",
    accumulate: Accumulate = "float32",
    variables: Iterable[keras.Variable] | None = None,
) -> NDArray[Any]:
    r"""$\Theta(x_i, x_i)$ for every example: squared norms of per-example gradients.

    Args:
        model: as in `empirical_ntk`; the other arguments likewise.
        x: `n` examples.
        outputs: as in `empirical_ntk`.
        batch_size: examples a pass; `None`: what fits.
        implementation: as in `empirical_ntk`.
        accumulate: `"float32"` or `"float64"`.
        variables: list of trainable variables, where not all of them count.

    Returns:
        NumPy array `(n,)`, for `outputs="per_output"` `(n, k)`, for `"full"`
        `(n, k, k)`.

    Raises:
        TypeError, ValueError, OverflowError: as `empirical_ntk`.

    Example:

    >>> import keras, numpy as np
    >>> from keras_kd.ntk import ntk_diagonal
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> [float(v) for v in ntk_diagonal(model, np.array([[1.0, 2.0], [0.0, 0.0]]))]
    [6.0, 1.0]
    """
    dtype = check_accumulate(accumulate)
    jacobian = FactoredJacobian(
        model, x, outputs, variables, batch_size, implementation
    )
    dtype = np.result_type(jacobian.dtype, dtype)
    parts: list[NDArray[Any]] = []
    for _, factors in jacobian.batches():
        norms = [f.in_dtype(dtype).squared_norms(jacobian.form) for f in factors]
        parts.append(np.sum(norms, axis=0))
        check_no_overflow(parts[-1])
    return np.concatenate(parts)
