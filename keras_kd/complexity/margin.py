"""By how much an example is decided as its label says."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from keras_kd.complexity.arguments import (
    check_deciding_kind,
    check_outputs,
    check_truth,
)
from keras_kd.outputs import KindName


def margins(
    outputs: ArrayLike, labels: ArrayLike, output_kind: KindName | None = None
) -> NDArray[np.float64]:
    r"""$f_y - \max_{j \ne y} f_j$ for each example: negative where it is misclassified.

    For one output, whose sign decides between 0 and 1, and for each of a set of labels,
    it is the output with the sign of the label.

    Args:
        outputs: logits or probabilities `(n, k)`; `(n,)` or `(n, 1)` for two classes
            decided by the sign of one logit. Of labels logits, or what is centred.
        labels: `(n,)` integers from 0 to `k - 1`, or one-hot `(n, k)`; for one output,
            0 and 1; for a set of labels `(n, k)` zeros and ones.
        output_kind: `"categorical"`, or `"bernoulli"` for a set of labels; `None` for
            classes.

    Returns:
        Array `(n,)`, for a set of labels `(n, k)`, float64, in the units of the
        outputs.

    Raises:
        ValueError: shapes disagree, outputs are not finite, a label is no class, or the
            outputs are values, by which nothing is decided.

    Source: Mohri, Rostamizadeh & Talwalkar, *Foundations of Machine Learning*, 2nd
    edition, section 9.2.

    Example:

    >>> from keras_kd.complexity import margins
    >>> margins([[3.0, 1.0, 2.0], [0.0, 4.0, 5.0]], [0, 1]).tolist()
    [1.0, -1.0]
    >>> margins([[3.0, -1.0]], [[1, 1]], output_kind="bernoulli").tolist()
    [[3.0, -1.0]]
    """
    columns = check_outputs("outputs", outputs)
    n, k = columns.shape
    kind = check_deciding_kind(output_kind, k, "a margin")
    margin: NDArray[np.float64] = kind.margin(columns, check_truth(labels, n, k, kind))
    return margin[:, 0] if k == 1 else margin


def accuracy(
    outputs: ArrayLike, labels: ArrayLike, output_kind: KindName | None = None
) -> float:
    """The share of examples, or of their labels, decided as the labels say.

    Args:
        outputs: as in `margins`. Of several largest ones the first counts, and of one
            output, or of each of a set of labels, what is above 0.
        labels: as in `margins`.
        output_kind: as in `margins`; of a set of labels one less the Hamming loss.

    Raises:
        ValueError: as `margins`.
    """
    columns = check_outputs("outputs", outputs)
    n, k = columns.shape
    kind = check_deciding_kind(output_kind, k, "an accuracy")
    return float(np.mean(kind.decision(columns) == check_truth(labels, n, k, kind)))
