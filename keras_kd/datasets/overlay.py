"""Makes a harder task of an easy one: two garments, or two digits, in one image."""

import numpy as np


def overlay_pairs(
    images: np.ndarray,
    labels: np.ndarray,
    size: int,
    seed: int | list[int],
    shift: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Lays pairs of images over each other at random offsets; the class is the pair's.

    Each image is moved by up to `shift` pixels both ways on a canvas that is larger by
    twice as many, and the two are joined by the larger value of each pixel. Every
    unordered pair of classes, also of a class with itself, occurs equally often.

    Args:
        images: `(n, height, width)` uint8, at least two of each class.
        labels: `(n,)` integers from 0 to `k - 1`.
        size: how many pairs to make.
        seed: decides all.
        shift: pixels, >= 0.

    Returns:
        `(size, height + 2 shift, width + 2 shift)` uint8 images and `(size,)` labels
        from 0 to `k (k + 1) / 2 - 1`, the pairs in the order (0, 0), (0, 1), ...,
        (1, 1), ...

    Source: after MultiMNIST of Sabour, Frosst & Hinton, "Dynamic Routing Between
    Capsules", NeurIPS 2017, section 6, which leaves out pairs of one class.
    """
    generator = np.random.default_rng(seed)
    members = [np.flatnonzero(labels == c) for c in range(labels.max() + 1)]
    first_class, second_class = np.triu_indices(len(members))
    pairs = generator.permutation(np.arange(size) % len(first_class))

    sizes = np.array([len(m) for m in members])
    a, b = first_class[pairs], second_class[pairs]
    first = generator.integers(sizes[a])
    # An image never lies over itself.
    second = generator.integers(sizes[b] - (a == b))
    second += (a == b) & (second >= first)

    height, width = (s + 2 * shift for s in images.shape[1:])
    result = np.zeros((size, height, width), np.uint8)
    for classes, chosen in ((a, first), (b, second)):
        offsets = generator.integers(2 * shift + 1, size=(size, 2))
        for i in range(size):
            y, x = offsets[i]
            image = images[members[classes[i]][chosen[i]]]
            window = result[i, y : y + image.shape[0], x : x + image.shape[1]]
            np.maximum(window, image, out=window)
    return result, pairs
