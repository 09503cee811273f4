"""By how much an example is classified as its label says."""

import numpy as np

from keras_kd.complexity.arguments import check_labels, check_outputs


def margins(outputs, labels):
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
    outputs = check_outputs("outputs", outputs)
    n, k = outputs.shape
    labels = check_labels(labels, n, k)
    if k == 1:
        return np.where(labels == 1, outputs[:, 0], -outputs[:, 0])
    own = labels[:, None] == np.arange(k)
    return outputs[own] - np.where(own, -np.inf, outputs).max(axis=1)


def accuracy(outputs, labels) -> float:
    """The share of examples that are classified as their labels say.

    Args:
        outputs: as in `margins`. Of several largest ones the first counts, and of one
            output what is above 0.
        labels: as in `margins`.
    """
    outputs = check_outputs("outputs", outputs)
    labels = check_labels(labels, *outputs.shape)
    if outputs.shape[1] == 1:
        return float(np.mean((outputs[:, 0] > 0) == labels))
    return float(np.mean(outputs.argmax(axis=1) == labels))
