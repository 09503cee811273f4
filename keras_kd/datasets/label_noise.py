"""Gives some examples wrong labels."""

import numpy as np
import numpy.typing as npt

from keras_kd.arguments import check_fraction, check_integer


def wrong_labels(labels: npt.ArrayLike, share: float, seed: int = 0) -> np.ndarray:
    """Symmetric label noise: a share of the labels becomes another class, at random.

    Args:
        labels: `(n,)` integers.
        share: in [0, 1]: how many become wrong, exactly `round(share * n)`; every
            other class that occurs in `labels` is as likely.
        seed: decides which, and what they become.

    Returns:
        `(n,)`, a new array of the same dtype.

    Raises:
        ValueError: `share` is not in [0, 1], or `labels` are no integers `(n,)`, or of
            one class alone.

    Source: symmetric noise as in Zhang et al., "Understanding deep learning requires
    rethinking generalization", ICLR 2017, with a share that is exact.

    Example:

    >>> import numpy as np
    >>> labels = np.repeat(np.arange(10), 100)
    >>> int(np.sum(wrong_labels(labels, 0.2) != labels))
    200
    """
    labels = np.asarray(labels)
    wrong = labels.ndim != 1 or labels.dtype.kind not in "iu" or not labels.size
    if wrong or labels.min() < 0:
        raise ValueError(
            "`labels` must be integers >= 0, `(n,)`. Received: labels of shape "
            f"{labels.shape} and dtype {labels.dtype}"
            + ("" if wrong else f", {labels.min()} the least")
        )
    seed = check_integer("seed", seed, at_least=0)
    share = check_fraction("share", share, zero=True, one=True)
    classes, places = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(
            "`labels` must be of two classes at least. Received: labels of "
            f"{len(classes)}"
        )
    generator = np.random.default_rng(seed)
    chosen = generator.permutation(len(labels))[: round(share * len(labels))]
    shift = generator.integers(1, len(classes), len(chosen))
    result = labels.copy()
    result[chosen] = classes[(places[chosen] + shift) % len(classes)]
    return result
