"""What outputs say of classes: one unit by its sign, several by the largest of them.

All arrays here are NumPy's, checked and in float64.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax


def number_of_classes(units: int) -> int:
    """That so many output units decide between."""
    return max(units, 2)


def decisions(outputs: NDArray[np.float64]) -> NDArray[np.intp]:
    """The class of each example, `(n,)`, for logits or probabilities less 1/2."""
    if outputs.shape[1] == 1:
        return np.asarray(outputs[:, 0] > 0, np.intp)
    return np.asarray(outputs.argmax(axis=1))


def margins_of(
    outputs: NDArray[np.float64], labels: NDArray[np.integer[Any]]
) -> NDArray[np.float64]:
    """By how much each example is decided as its label says, `(n,)`."""
    k = outputs.shape[1]
    if k == 1:
        return np.where(labels == 1, outputs[:, 0], -outputs[:, 0])
    own = labels[:, None] == np.arange(k)
    others = np.where(own, -np.inf, outputs)
    return np.asarray(outputs[own] - others.max(axis=1))


def probabilities(
    logits: NDArray[np.float64], temperature: float, center: bool
) -> NDArray[np.float64]:
    """Of the classes, `(n, k)`, and of one unit that of class 1, `(n, 1)`.

    Args:
        logits: `(n, k)`.
        temperature: > 0.
        center: whether to take from them what they are without any knowledge.
    """
    scaled = logits / temperature
    if scaled.shape[1] == 1:
        return np.asarray(expit(scaled) - (0.5 if center else 0.0))
    return _centred(np.asarray(softmax(scaled, axis=1)), center)


def scaled_logits(
    logits: NDArray[np.float64], temperature: float, center: bool
) -> NDArray[np.float64]:
    """Logits over the temperature; several less their mean, one as it is."""
    return _centred(logits / temperature, center and logits.shape[1] > 1)


def _centred(values: NDArray[np.float64], center: bool) -> NDArray[np.float64]:
    if not center:
        return values
    return np.asarray(values - values.mean(axis=1, keepdims=True))


def label_targets(labels: NDArray[np.integer[Any]], units: int) -> NDArray[np.float64]:
    """Labels as the centred probabilities `(n, units)` of a teacher without doubt."""
    if units == 1:
        return np.asarray(labels[:, None] - 0.5)
    return np.asarray(np.eye(units)[labels] - 1 / units)
