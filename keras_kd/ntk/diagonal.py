"""The kernel's diagonal, in time linear in the examples."""

import numpy as np

from keras_kd.ntk.jacobian import FactoredJacobian


def ntk_diagonal(
    model,
    x,
    *,
    outputs="trace",
    batch_size=None,
    implementation="auto",
    accumulate="float32",
    variables=None,
):
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
        TypeError, ValueError: as `empirical_ntk`.

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
    parts = []
    for _, factors in jacobian.batches():
        norms = [f.in_dtype(dtype).squared_norms(jacobian.form) for f in factors]
        parts.append(np.sum(norms, axis=0))
    return np.concatenate(parts)


def check_accumulate(accumulate) -> np.dtype:
    """The dtype of sums.

    Raises:
        ValueError: it is neither `"float32"` nor `"float64"`.
    """
    if accumulate not in ("float32", "float64"):
        raise ValueError(
            "`accumulate` must be 'float32' or 'float64'. "
            f"Received: accumulate={accumulate!r}"
        )
    return np.dtype(accumulate)
