"""What `compare_teachers` takes."""

from collections.abc import Sequence
from typing import Any, cast

import keras
import numpy as np
from numpy.typing import ArrayLike, NDArray

from keras_kd import backend
from keras_kd.arguments import check_number, check_temperature
from keras_kd.complexity.arguments import check_kernel, check_targets, check_truth
from keras_kd.forward import Examples
from keras_kd.ntk.outputs import are_probabilities, logits_of
from keras_kd.outputs import Kind, check_last_activation

# Where none are given.
TEMPERATURES = (1.0, 2.0, 4.0, 8.0)


def checked_temperatures(
    temperatures: float | Sequence[float] | None,
) -> tuple[float, ...] | None:
    """One temperature or several as a tuple; `None`: those of the outputs' kind.

    Raises:
        ValueError: one is not > 0 or stands there twice, or there is none.
    """
    if temperatures is None:
        return None
    several: Any = temperatures if np.ndim(temperatures) else [temperatures]
    checked = tuple(check_temperature("temperatures", t) for t in several)
    if not checked or len(set(checked)) < len(checked):
        raise ValueError(
            "`temperatures` must be numbers > 0, at least one, each once. "
            f"Received: temperatures={temperatures}"
        )
    return checked


def temperatures_of(
    kind: Kind, temperatures: tuple[float, ...] | None
) -> tuple[float, ...]:
    """Those that were asked for, if outputs of this kind have any.

    Raises:
        ValueError: the outputs are values, and another temperature than 1 is given.
    """
    if kind.SOFTENS:
        return TEMPERATURES if temperatures is None else temperatures
    if temperatures not in (None, (1.0,)):
        raise ValueError(
            "`temperatures` must be left out, or 1, for outputs that are "
            f"{kind.NAME}: values have no temperature. Received: temperatures="
            f"{temperatures}. Of classes say output_kind='categorical', of a set of "
            "labels 'bernoulli'."
        )
    return (1.0,)


def checked_truth(
    y: NDArray[Any] | None, n: int, k: int, kind: Kind
) -> NDArray[Any] | None:
    """`y` in the shape of the decisions, or values `(n, k)`.

    Raises:
        ValueError: shape, dtype or an entry.
    """
    if y is None:
        return None
    if kind.DECIDES:
        return check_truth(y, n, k, kind, "y")
    return check_targets(y, n, k, "y")


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
    """The number of outputs of a student that gives logits.

    Raises:
        TypeError: it is no model.
        ValueError: it is not built, or gives probabilities.
    """
    few = first_outputs(student, examples)
    check_gives_logits(student, few)
    return int(few.shape[1])


def first_outputs(student: keras.Model, examples: Examples) -> NDArray[Any]:
    """What the student gives for some examples, `(m, k)`.

    Raises:
        TypeError: it is no model.
        ValueError: it is not built.
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
    few: NDArray[Any] = backend.to_numpy(logits_of(student, examples.first(8)))
    return few


def check_gives_logits(
    student: keras.Model, few: NDArray[Any], declared: Sequence[Kind] = ()
) -> None:
    """Refuses a student that gives probabilities; values are neither.

    Args:
        student: the model.
        few: what it gives for some examples.
        declared: the kind of its output, where its last activation is to agree with it.

    Raises:
        ValueError: it gives probabilities, or ends in what contradicts its kind.
    """
    of_values = not all(kind.SOFTENS for kind in declared)
    if of_values:
        check_last_activation(student, "logits", "student", declared)
        return
    try:
        check_last_activation(student, "logits", "student")
        certain = are_probabilities(few)
    except ValueError:
        certain = True
    if certain:
        raise ValueError(
            "`student` must give logits. Received: model "
            f"'{student.name}', which gives probabilities. Pass the model that ends "
            "before its softmax or sigmoid, or output_kind='continuous' to "
            "`compare_teachers` if these are values."
        )
