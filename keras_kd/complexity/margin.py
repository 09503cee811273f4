"""By how much an example is classified as its label says."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from keras_kd.complexity.arguments import check_labels, check_outputs
from keras_kd.outputs import class_margin, decided_class


def margins(outputs: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]:
    r"""$f_y - \max_{j \ne y} f_j$ for each example: negative where it is misclassified.

    For one output, whose sign decides between 0 and 1, it is the output with the sign
    of the label.

    Args:
        outputs: logits or probabilities `(n, k)`; `(n,)` or `(n, 1)` for two classes
            decided by the sign of one logit.
        labels: `(n,)` integers from 0 to `k - 1`; for one output, 0 and 1.

    Returns:
        Array `(n,)`, float64, in the units of the outputs.

    Raises:
        ValueError: shapes disagree, outputs are not finite, or a label is no class.

    Source: Mohri, Rostamizadeh & Talwalkar, *Foundations of Machine Learning*, 2nd
    edition, section 9.2.

    Example:

    >>> from keras_kd.complexity import margins
    >>> margins([[3.0, 1.0, 2.0], [0.0, 4.0, 5.0]], [0, 1]).tolist()
    [1.0, -1.0]
    """
    columns = check_outputs("outputs", outputs)
    margin: NDArray[np.float64] = class_margin(
        columns, check_labels(labels, *columns.shape)
    )
    return margin


def accuracy(outputs: ArrayLike, labels: ArrayLike) -> float:
    """The share of examples that are classified as their labels say.

    Args:
        outputs: as in `margins`. Of several largest ones the first counts, and of one
            output what is above 0.
        labels: as in `margins`.
    """
    columns = check_outputs("outputs", outputs)
    of_labels = check_labels(labels, *columns.shape)
    return float(np.mean(decided_class(columns) == of_labels))
