"""What kernels, targets and labels must be."""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from keras_kd.outputs import (
    Kind,
    KindName,
    bernoulli,
    categorical,
    kind_of,
    number_of_classes,
)

# An asymmetry up to here, of the largest entry, is taken for rounding.
_ASYMMETRY = 1e-6
_ROWS = 1024


def check_kernel(kernel: ArrayLike, argument: str = "kernel") -> NDArray[Any]:
    """`kernel` as an array in its own dtype, if it is `(n, n[, k[, k]])` and symmetric.

    Raises:
        ValueError: shape, dtype, an entry or an asymmetry.
    """
    array = check_array(kernel, argument)
    shape = array.shape
    square = array.ndim in (2, 3, 4) and shape[0] == shape[1]
    if not square or (array.ndim == 4 and shape[2] != shape[3]) or 0 in shape:
        raise ValueError(
            f"`{argument}` must be of shape (n, n), (n, n, k) or (n, n, k, k). "
            f"Received: shape {shape}"
        )
    error = asymmetry(array)
    limit = _ASYMMETRY
    if array.dtype.kind == "f":
        limit = max(limit, math.sqrt(len(array)) * float(np.finfo(array.dtype).eps))
    if error > limit * np.abs(array).max():
        raise ValueError(
            f"`{argument}` must be symmetric. "
            f"Received: entries that differ from their mirror images by {error:.3g}"
        )
    return array


def asymmetry(kernel: NDArray[Any]) -> float:
    """The largest difference between an entry and its mirror image."""
    mirrored = kernel.swapaxes(0, 1)
    if kernel.ndim == 4:
        mirrored = mirrored.swapaxes(2, 3)
    # By rows: a second array of the kernel's size may not fit.
    rows = (slice(i, i + _ROWS) for i in range(0, len(kernel), _ROWS))
    return max(
        float(np.abs(kernel[r].astype(float) - mirrored[r]).max(initial=0))
        for r in rows
    )


def check_targets(
    targets: ArrayLike, n: int, k: int | None = None, argument: str = "targets"
) -> NDArray[np.float64]:
    """`targets` as float64 `(n, k)`.

    Args:
        targets: `(n,)` or `(n, k)`.
        n: how many rows there must be.
        k: how many columns; `None`: any number.
        argument: its name.

    Raises:
        ValueError: shape, dtype or an entry.
    """
    array = check_array(targets, argument)
    columns = array[:, None] if array.ndim == 1 else array
    fits = columns.ndim == 2 and len(columns) == n and columns.shape[1] > 0
    if not fits or (k is not None and columns.shape[1] != k):
        expected = f"({n},) or ({n}, k)" if k is None else f"({n}, {k})"
        raise ValueError(
            f"`{argument}` must be of shape {expected}. Received: shape {array.shape}"
        )
    return columns.astype(np.float64)


def check_outputs(
    argument: str, outputs: ArrayLike, shape: tuple[int, ...] | None = None
) -> NDArray[np.float64]:
    """`outputs` as float64 `(n, k)`; `(n,)` is one output.

    Raises:
        ValueError: shape, dtype or an entry.
    """
    array = check_array(outputs, argument)
    columns = array[:, None] if array.ndim == 1 else array
    if columns.ndim != 2 or 0 in columns.shape:
        raise ValueError(
            f"`{argument}` must be of shape (n,) or (n, k). "
            f"Received: shape {array.shape}"
        )
    if shape is not None and columns.shape != shape:
        raise ValueError(
            f"`{argument}` must be of shape {shape}. Received: shape {array.shape}"
        )
    return columns.astype(np.float64)


def check_kind(output_kind: KindName | None, k: int) -> Kind:
    """What `k` outputs mean; without a name they tell classes apart.

    Raises:
        ValueError: there is no such kind, or there is one class alone.
    """
    kind = kind_of(output_kind, k)
    if kind is categorical and k == 1:
        raise ValueError(
            "`output_kind='categorical'` needs an output for each class. Received: 1 "
            "output. One that decides between two classes is 'bernoulli'."
        )
    return kind


def check_deciding_kind(output_kind: KindName | None, k: int, what: str) -> Kind:
    """As `check_kind`, of outputs by which something is decided.

    Args:
        output_kind: its name, or `None` for classes.
        k: number of output units.
        what: needs a decision, for the message.

    Raises:
        ValueError: there is no such kind, or nothing is decided.
    """
    kind = check_kind(output_kind, k)
    if not kind.DECIDES:
        raise ValueError(
            f"`output_kind` must be 'categorical' or 'bernoulli' for {what}: by values "
            f"nothing is decided. Received: output_kind={output_kind!r}"
        )
    return kind


def check_labels(
    labels: ArrayLike, n: int, k: int, argument: str = "labels"
) -> NDArray[np.int_]:
    """`labels` as `(n,)` integers from 0 to `k - 1`, or 0 and 1 for one output.

    Args:
        labels: `(n,)` or `(n, 1)`; or one-hot, `(n, k)` for `k > 1`.
        n: how many there must be.
        k: number of output units.
        argument: its name.

    Raises:
        ValueError: shape, or a label that is none.
    """
    array = np.asarray(labels)
    if array.shape == (n, 1):
        array = array[:, 0]
    classes = number_of_classes(k)
    if array.shape != (n,):
        if k > 1 and array.shape == (n, k) and are_one_hot(array):
            ones: NDArray[np.int_] = array.argmax(axis=1)
            return ones
        one_hot = f", or one-hot of shape ({n}, {k})" if k > 1 else ""
        raise ValueError(
            f"`{argument}` must be of shape ({n},){one_hot}. "
            f"Received: shape {array.shape}"
            + (" that is not one-hot" if array.shape == (n, k) else "")
        )
    if not np.isin(array, np.arange(classes)).all():
        raise ValueError(
            f"`{argument}` must be integers from 0 to {classes - 1}. "
            f"Received: {argument}={np.unique(array)}"
        )
    return array.astype(int)


def are_zeros_and_ones(array: NDArray[Any]) -> bool:
    """Whether an array holds nothing else."""
    return array.dtype.kind in "fiub" and bool(np.isin(array, (0, 1)).all())


def are_one_hot(array: NDArray[Any]) -> bool:
    """Whether each row of `(n, k)` is a one among zeros."""
    return are_zeros_and_ones(array) and bool((array.sum(axis=1) == 1).all())


def check_truth(
    labels: ArrayLike, n: int, k: int, kind: Kind, argument: str = "labels"
) -> NDArray[np.int_]:
    """What should be decided, in the shape of `kind.decision(outputs)`.

    Args:
        labels: as `check_labels` takes them; of several labels that are there or not
            `(n, k)` zeros and ones.
        n: number of examples.
        k: number of output units.
        kind: that decides.
        argument: its name.

    Returns:
        Integers `(n,)` of classes, `(n, k)` of labels.

    Raises:
        ValueError: shape, or a label that is none.
    """
    if kind is not bernoulli:
        return check_labels(labels, n, k, argument)
    if k == 1:
        return check_labels(labels, n, k, argument)[:, None]
    array = np.asarray(labels)
    if array.shape != (n, k) or not are_zeros_and_ones(array):
        what = f"shape {array.shape}"
        if array.shape == (n, k):
            what = f"{argument}={np.unique(array)}"
        raise ValueError(
            f"`{argument}` must be zeros and ones of shape ({n}, {k}) where outputs "
            f"are a set of labels, output_kind='bernoulli'. Received: {what}"
        )
    return array.astype(int)


def check_array(value: ArrayLike, argument: str) -> NDArray[Any]:
    """`value` as an array of finite real numbers, in its own dtype.

    Raises:
        ValueError: it is not.
    """
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise ValueError(
            f"`{argument}` must be an array of real numbers. "
            f"Received: dtype {array.dtype}"
        )
    bad = array.size - np.count_nonzero(np.isfinite(array))
    if bad:
        raise ValueError(
            f"`{argument}` must be finite. "
            f"Received: {bad} of {array.size} entries that are not"
        )
    return array
