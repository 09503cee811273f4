"""How alike two models' kernels are."""

from typing import Any, NamedTuple

import keras
import numpy as np
from numpy.typing import NDArray

from keras_kd.arguments import check_integer
from keras_kd.ntk.jacobian import FactoredJacobian
from keras_kd.ntk.kernel import block_of
from keras_kd.ntk.memory import block_size
from keras_kd.ntk.operator import NTKOperator
from keras_kd.ntk.outputs import Choice


class Similarity(NamedTuple):
    """A cosine and what is known of its error.

    Attributes:
        cosine: between -1 and 1, for kernels 0 and 1.
        standard_error: 0 where the cosine is exact.
    """

    cosine: float
    standard_error: float


def ntk_similarity(
    model_a: keras.Model,
    model_b: keras.Model,
    x: Any,
    *,
    outputs: Choice = "trace",
    probes: int = 32,
    seed: int = 0,
    batch_size: int | None = None,
) -> Similarity:
    r"""Cosine of two models' NTKs, $\langle A, B \rangle / (\|A\| \|B\|)$ (Frobenius).

    Args:
        model_a: a built `keras.Model`; as in `empirical_ntk`.
        model_b: another one that takes the same examples.
        x: `n` examples.
        outputs: as in `empirical_ntk`, but for `"per_output"`. For `"full"`, whose
            kernel has `(n k)^2` entries, the three inner products are estimated from
            random probes `v`: `(A v) . (B v)` is `<A, B>` in expectation. All other
            forms are exact, computed block by block.
        probes: number of random probes, at least 2.
        seed: of the probes.
        batch_size: examples a pass; `None`: what fits.

    Returns:
        `Similarity(cosine, standard_error)`; the standard error is that of the
        jackknife over the probes, 0 where the cosine is exact.

    Raises:
        TypeError, ValueError, OverflowError: as `empirical_ntk`; also where the full
            kernels have different numbers of outputs, or a kernel is zero.

    Source: the measure of Harutyunyan et al., ICLR 2023, section 4 (NTK similarity of
    teacher and student).

    Example:

    >>> import keras, numpy as np
    >>> from keras_kd.ntk import ntk_similarity
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    >>> round(ntk_similarity(model, model, np.eye(4)).cosine, 6)
    1.0
    """
    probes = check_integer("probes", probes, at_least=2)
    seed = check_integer("seed", seed, at_least=0)
    if isinstance(outputs, str) and outputs == "per_output":
        raise ValueError(
            "`outputs` must be 'trace', 'full', 'pseudo', an index or a vector. "
            "Received: outputs='per_output'; ask for one output at a time."
        )
    if isinstance(outputs, str) and outputs == "full":
        return _estimated(model_a, model_b, x, probes, seed, batch_size)
    a = FactoredJacobian(model_a, x, outputs, None, batch_size)
    b = FactoredJacobian(model_b, a.examples, outputs, None, batch_size)
    return Similarity(_exact(a, b), 0.0)


def _exact(a: FactoredJacobian, b: FactoredJacobian) -> float:
    dtype = np.dtype("float64")
    # Both models' factors are in memory together.
    size = min(
        block_size(side.n, side.bytes_per_example(), side.bytes_per_pair(dtype), False)
        for side in (a, b)
    )
    starts = range(0, a.n, size)
    products = np.zeros(3)
    for i in starts:
        rows = [side.rows(i, min(i + size, a.n)) for side in (a, b)]
        for j in starts:
            if j > i:
                break
            blocks = []
            for side, mine in zip((a, b), rows, strict=True):
                other = None if i == j else side.rows(j, min(j + size, a.n))
                blocks.append(block_of(side, mine, other, dtype))
            p, q = blocks
            times = 1 if i == j else 2
            products += times * np.array([np.vdot(p, q), np.vdot(p, p), np.vdot(q, q)])
    return _cosine(products)


def _cosine(products: NDArray[np.float64]) -> float:
    ab, aa, bb = products
    if aa == 0 or bb == 0:
        raise ValueError(
            "The kernels must not be zero, or they have no angle. Received: a kernel "
            f"of zeros from `{'model_a' if aa == 0 else 'model_b'}`, whose outputs do "
            "not depend on its trainable weights at these examples"
        )
    if not np.isfinite(products).all():
        raise OverflowError(
            "The kernels must be small enough for their squares to be float64 numbers. "
            f"Received: inner products {ab:.3g}, {aa:.3g} and {bb:.3g}. The cosine "
            "does not change with the scale of the outputs: multiply them by a "
            "small number."
        )
    # One root each: their product may be beyond the largest number.
    return float(ab / np.sqrt(aa) / np.sqrt(bb))


def _estimated(
    model_a: keras.Model,
    model_b: keras.Model,
    x: Any,
    probes: int,
    seed: int,
    batch_size: int | None,
) -> Similarity:
    a = NTKOperator(model_a, x, outputs="full", batch_size=batch_size)
    b = NTKOperator(model_b, x, outputs="full", batch_size=batch_size)
    if a.shape != b.shape:
        raise ValueError(
            "The full kernels of two models can be compared only if they have the same "
            f"number of outputs. Received: shapes {a.shape} and {b.shape}"
        )
    generator = np.random.default_rng(seed)
    products = np.zeros((probes, 3))
    for r in range(probes):
        v = generator.choice([-1.0, 1.0], a.shape[0])
        p, q = a @ v, b @ v
        products[r] = p @ q, p @ p, q @ q
    cosine = _cosine(products.mean(0))
    # Leaving out one probe at a time.
    total = products.sum(0)
    left = np.array([_cosine((total - one) / (probes - 1)) for one in products])
    variance = (probes - 1) / probes * np.sum((left - left.mean()) ** 2)
    return Similarity(cosine, float(np.sqrt(variance)))
