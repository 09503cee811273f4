"""Takes a part of a data set with all classes equally often."""

import numpy as np

from keras_kd.arguments import check_integer


def balanced_subset(
    labels: np.ndarray, size: int | None, seed: int, argument: str
) -> np.ndarray:
    """Chooses `size` examples at random, as many of each class as can be.

    Args:
        labels: `(n,)` integers.
        size: how many to choose; `None` for all.
        seed: decides which.
        argument: the name of `size` where the user gave it, for the message.

    Returns:
        `(size,)` indices, ascending.

    Raises:
        ValueError: `size` is not in `1..n`.
    """
    n = len(labels)
    if size is None:
        return np.arange(n)
    size = check_integer(
        argument,
        size,
        at_least=1,
        below=n + 1,
        expected=f"between 1 and {n}, the number of examples there are",
    )
    shuffled = np.random.default_rng(seed).permutation(n)
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    counts = np.unique(labels, return_counts=True)[1]
    place_in_class = np.concatenate([np.arange(count) for count in counts])
    return np.sort(by_class[np.argsort(place_in_class, kind="stable")[:size]])
