"""What is asked of the data of `fit`, before Keras has made batches of them."""

import numbers
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_kd.arguments import (
    check_fraction,
    check_integer,
    check_integer_or_none,
    check_number,
)
from keras_kd.distiller.arguments import check_labels


def check_data(
    x: Any, y: Any, sample_weight: Any, batch_size: Any, class_weight: Any = None
) -> None:
    """Refuses data that Keras would train on in another way than is meant.

    Raises:
        ValueError: complex numbers; weights without labels, which Keras drops; weights
            that are negative or not finite; or a size that no batch has.
    """
    check_integer_or_none("batch_size", batch_size, at_least=1)
    if isinstance(x, numbers.Number):
        raise ValueError(
            f"`x` must be arrays of examples or a data set. Received: x={x!r}"
        )
    sizes = [getattr(leaf, "shape", None) for leaf in keras.tree.flatten(x)]
    if any(size is not None and tuple(size)[:1] == (0,) for size in sizes):
        raise ValueError("`x` must hold examples. Received: an array of none")
    _check_real(x, y)
    if isinstance(class_weight, Mapping):
        for label, weight in class_weight.items():
            check_number(f"class_weight[{label}]", weight, at_least=0)
    check_labels(class_weight, x, y)
    if sample_weight is None:
        return
    if y is None:
        raise ValueError(
            "`sample_weight` needs labels: Keras drops the weights where there are "
            "none. Received: sample_weight with y=None. Pass labels too (at alpha=1 "
            "and without a compiled loss they may be anything), or batches "
            "`(x, y, sample_weight)`."
        )
    for weights in keras.tree.flatten(sample_weight):
        _check_weights(weights)


def check_fit(arguments: Mapping[str, Any]) -> None:
    """Refuses data as `check_data` does, and lengths of training that are none.

    Args:
        arguments: those of `fit`, by name.

    Raises:
        ValueError: names the argument and the value.
    """
    names = ("x", "y", "sample_weight", "batch_size", "class_weight")
    check_data(*(arguments[name] for name in names))
    if arguments["x"] is None:
        raise ValueError("`x` must be given. Received: x=None")
    for name in ("epochs", "initial_epoch"):
        check_integer(name, arguments[name], at_least=0)
    for name in ("steps_per_epoch", "validation_steps", "validation_batch_size"):
        check_integer_or_none(name, arguments[name], at_least=1)
    check_fraction("validation_split", arguments["validation_split"] or 0, zero=True)


def _check_weights(weights: Any) -> None:
    array = np.asarray(keras.ops.convert_to_numpy(weights))
    if array.dtype.kind not in "biuf":
        raise ValueError(
            "`sample_weight` must hold numbers. Received: sample_weight of dtype "
            f"{array.dtype}"
        )
    wrong = ~(np.isfinite(array) & (array >= 0))
    if wrong.any():
        first = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise ValueError(
            "`sample_weight` must hold finite numbers >= 0. Received: "
            f"{np.count_nonzero(wrong)} others, {array[first]} at {first} first"
        )


def _check_real(*data: Any) -> None:
    """Refuses complex numbers, of which a network would take the real part.

    Args:
        *data: structures of arrays, tensors, or anything else, which passes.

    Raises:
        ValueError: names the dtype.
    """
    for leaf in keras.tree.flatten(data):
        dtype = str(getattr(leaf, "dtype", ""))
        if "complex" in dtype:
            raise ValueError(
                "The data must be real: layers and losses take complex numbers for "
                f"something else. Received: an array of dtype {dtype}. Pass real and "
                "imaginary part as two channels."
            )
