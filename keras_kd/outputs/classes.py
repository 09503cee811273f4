"""Outputs `(..., k)` that tell classes apart: one unit two of them, `k` units `k`."""

from typing import Any

import numpy as np

from keras_kd.outputs.arithmetic import functions_for
from keras_kd.outputs.kinds import kind_of_classes


def number_of_classes(units: int) -> int:
    """That so many output units tell apart."""
    return max(units, 2)


def label_targets(labels: Any, units: int) -> Any:
    """Labels as the centred probabilities `(n, units)` of a teacher without doubt.

    Args:
        labels: integers `(n,)`, NumPy array.
        units: of the output.
    """
    if units == 1:
        return labels[:, None] - 0.5
    return np.eye(units)[labels] - 1 / units


def decided_class(outputs: Any) -> Any:
    """The class that is decided for, integers `(...)`."""
    units = outputs.shape[-1]
    decision = kind_of_classes(units).decision(outputs)
    if units == 1:
        return functions_for(outputs).cast(decision[..., 0], "int32")
    return decision


def class_margin(outputs: Any, labels: Any) -> Any:
    """The margin by which the label's class is decided for, `(...)`.

    Args:
        outputs: `(..., k)`.
        labels: integers `(...)`, for one unit 0 and 1.
    """
    units = outputs.shape[-1]
    if units == 1:
        return kind_of_classes(1).margin(outputs, labels[..., None])[..., 0]
    return kind_of_classes(units).margin(outputs, labels)


def class_logits(outputs: Any) -> Any:
    """A logit for each class: one unit `z` becomes the two classes `[0, z]`.

    The softmax of `[0, z]` is `[1 - sigmoid(z), sigmoid(z)]`, and its temperature
    that of the unit.

    Args:
        outputs: `(..., k)`.

    Returns:
        The same, or `(..., 2)` where `k = 1`.
    """
    if outputs.shape[-1] != 1:
        return outputs
    f = functions_for(outputs)
    return f.concatenate([f.zeros_like(outputs), outputs], axis=-1)
