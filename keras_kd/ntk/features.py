"""Random features of the kernel, in one pass and memory linear in the examples."""

import functools
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from keras_kd.arguments import check_integer
from keras_kd.ntk.arguments import check_no_overflow
from keras_kd.ntk.jacobian import FactoredJacobian
from keras_kd.ntk.outputs import Choice


def ntk_features(
    model: keras.Model,
    x: Any,
    dim: int,
    seed: int = 0,
    *,
    outputs: Choice = "trace",
    batch_size: int | None = None,
    variables: Iterable[keras.Variable] | None = None,
) -> NDArray[Any]:
    r"""Features $\Phi$ with $\mathbb{E}[\Phi \Phi^\top] = \Theta$, the trace NTK.

    Feature `r` of example `i` is `sum_o s_ro <R_r, G_io> / sqrt(dim)`: the gradient of
    every output `o`, projected on a random direction `R_r` of the weights, with random
    signs `s_r`. For a layer that is linear in its weights `R_r` is itself an outer
    product of random signs, so that no gradient is formed. Directions and signs are
    independent from feature to feature, and the error of an entry falls as
    `1 / sqrt(dim)`.

    Args:
        model: as in `empirical_ntk`.
        x: `n` examples.
        dim: number of features, at least 1.
        seed: of the random signs, which are NumPy's: the same on every backend.
        outputs: as in `empirical_ntk`, but for `"per_output"` and `"full"`.
        batch_size: examples a pass; `None`: what fits.
        variables: list of trainable variables, where not all of them count.

    Returns:
        NumPy array `(n, dim)`.

    Raises:
        TypeError, ValueError: as `empirical_ntk`, and for `dim` below 1 or a
            negative `seed`.

    Example:

    >>> import keras, numpy as np
    >>> from keras_kd.ntk import ntk_features
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    >>> ntk_features(model, np.ones((5, 4)), dim=16).shape
    (5, 16)
    """
    dim = check_integer("dim", dim, at_least=1)
    seed = check_integer("seed", seed, at_least=0)
    if isinstance(outputs, str) and outputs in ("per_output", "full"):
        raise ValueError(
            "`outputs` must be 'trace', 'pseudo', an index or a vector: features are "
            f"of one kernel. Received: outputs={outputs!r}"
        )
    jacobian = FactoredJacobian(model, x, outputs, variables, batch_size, "auto")
    signs = _signs(seed, -1, jacobian.q, dim)

    @functools.cache
    def directions(place: int, kind: int, size: int) -> NDArray[np.int8]:
        return _signs(seed, place, size, dim, kind)

    parts = []
    for rows, factors in jacobian.batches():
        total = np.zeros((rows.stop - rows.start, dim), jacobian.dtype)
        for factor in factors:
            total += factor.project(signs.astype(jacobian.dtype), directions)
        parts.append(total / np.sqrt(dim))
        check_no_overflow(parts[-1])
    return np.concatenate(parts)


def _signs(
    seed: int, place: int, rows: int, columns: int, kind: int = 0
) -> NDArray[np.int8]:
    """Random signs `(rows, columns)`, a function of its arguments alone."""
    generator = np.random.default_rng([seed, place + 1, kind])
    # A byte each: many are kept, and they are made wider when they multiply.
    return np.asarray(1 - 2 * generator.integers(0, 2, (rows, columns), np.int8))
