"""What `compare_teachers` takes."""

from collections.abc import Sequence
from typing import Any, cast

import keras
import numpy as np
from numpy.typing import ArrayLike, NDArray

from keras_kd import backend
from keras_kd.arguments import check_choice, check_number
from keras_kd.complexity.arguments import check_kernel
from keras_kd.complexity.ranking.report import CRITERIA, Criterion
from keras_kd.forward import Examples
from keras_kd.ntk.outputs import are_probabilities, logits_of
from keras_kd.outputs import (
    bernoulli,
    check_last_activation,
    inferred_kinds,
)

# What ranks, with labels and without.
CRITERION: Criterion = "bound_total"
CRITERION_WITHOUT_LABELS: Criterion = "heldout_fidelity"


def checked_criterion(criterion: Criterion | None, labelled: bool) -> Criterion:
    """What ranks, which without labels can be no accuracy.

    Raises:
        ValueError: there is no such criterion, or it needs labels.
    """
    if criterion is None:
        return CRITERION if labelled else CRITERION_WITHOUT_LABELS
    check_choice("criterion", criterion, tuple(CRITERIA))
    if criterion.endswith("accuracy") and not labelled:
        raise ValueError(f"`criterion='{criterion}'` needs labels. Received: y=None")
    return criterion


def checked_temperatures(
    temperatures: float | Sequence[float],
) -> tuple[float, ...]:
    """One temperature or several as a tuple.

    Raises:
        ValueError: one is not > 0 or stands there twice, or there is none.
    """
    several: Any = temperatures if np.ndim(temperatures) else [temperatures]
    checked = tuple(check_number("temperatures", t, above=0) for t in several)
    if not checked or len(set(checked)) < len(checked):
        raise ValueError(
            "`temperatures` must be numbers > 0, at least one, each once. "
            f"Received: temperatures={temperatures}"
        )
    return checked


def split(
    n: int, held_out: float | ArrayLike, seed: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Indices of the examples that are fitted, and of those that are held out.

    Raises:
        ValueError: `held_out` is neither a share nor indices, or nothing is left.
    """
    if np.ndim(held_out) == 0:
        share = check_number("held_out", cast(float, held_out), above=0, below=1)
        if n < 2:
            raise ValueError(
                "`x` must hold at least two examples, one to fit and one to hold out. "
                f"Received: {n}"
            )
        count = min(max(1, round(share * n)), n - 1)
        held = np.sort(np.random.default_rng(seed).permutation(n)[:count])
    else:
        held = np.asarray(held_out)
        valid = (
            held.ndim == 1
            and held.dtype.kind in "iu"
            and 0 < len(np.unique(held)) == len(held) < n
            and 0 <= held.min() <= held.max() < n
        )
        if not valid:
            raise ValueError(
                "`held_out` must be a share of the examples, or the indices of some "
                f"but not all of the {n}, each once. Received: held_out={held_out!r}"
            )
    return np.setdiff1d(np.arange(n), held), held


def checked_kernel(kernel: ArrayLike, n: int) -> NDArray[Any]:
    """A kernel that is known already, as an array `(n, n)`.

    Raises:
        ValueError: shape, an entry or an asymmetry.
    """
    matrix = check_kernel(kernel)
    if matrix.shape != (n, n):
        raise ValueError(
            f"`kernel` must be of shape {(n, n)}, the examples of `x`. "
            f"Received: shape {matrix.shape}"
        )
    return matrix


def outputs_of(student: keras.Model, examples: Examples) -> int:
    """The student's number of classes, if it gives logits.

    Raises:
        TypeError: it is no model.
        ValueError: it is not built, or gives probabilities.
    """
    if not isinstance(student, keras.Model):
        raise TypeError(
            f"`student` must be a Keras model. Received: {type(student).__name__}"
        )
    if not student.built:
        raise ValueError(
            f"`student` must be built. Received: model '{student.name}', which has no "
            "weights yet."
        )
    few = backend.to_numpy(logits_of(student, examples.first(8)))
    k = int(few.shape[1])
    try:
        check_last_activation(student, "logits", "student")
        certain = are_probabilities(few)
    except ValueError:
        certain = True
    if certain:
        raise ValueError(
            "`student` must give logits. Received: model "
            f"'{student.name}', which gives probabilities. Pass the model that ends "
            "before its softmax or sigmoid."
        )
    return k


def check_classes(models: Sequence[Any], k: int) -> None:
    """Refuses outputs of which it is known that they are a set of labels.

    A squared error says nothing here: classifiers are trained by it, too.

    Args:
        models: the student and the teachers; those that are no models say nothing.
        k: units of the output.

    Raises:
        ValueError: a model gives several labels, each there or not.
    """
    for model in models:
        if not isinstance(model, keras.Model) or k == 1:
            continue
        (kind,) = inferred_kinds(["output"], [model], [getattr(model, "loss", None)])
        if kind is bernoulli:
            raise ValueError(
                "Teachers are ranked by the classes that they tell apart. Received: "
                f"model '{model.name}', of {k} outputs that are bernoulli (a set of "
                "labels) by their activation or the loss that it was compiled with."
            )
