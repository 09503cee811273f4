"""What the outputs of student and teachers mean, where it is not said.

What is certain decides: a softmax, a compiled loss or a sigmoid of one of the models,
what a trajectory or a cache recorded. A squared error alone does not make values of
what has the labels of classes, for classifiers are trained by it, too.
"""

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from keras_kd.complexity.arguments import are_one_hot, are_zeros_and_ones, check_kind
from keras_kd.outputs import (
    Kind,
    KindName,
    bernoulli,
    categorical,
    continuous,
    kind_named,
    kind_of_classes,
    number_of_classes,
)
from keras_kd.teachers import SupervisionCache, TeacherTrajectory
from keras_kd.teachers.cache import CachedMean
from keras_kd.teachers.live import LiveTeacher


def kind_of_outputs(
    declared: KindName | None,
    student: keras.Model,
    teachers: dict[str, Any],
    k: int,
    y: NDArray[Any] | None,
) -> Kind:
    """What was declared, else what is certain, else classes.

    Args:
        declared: by the user.
        student: the model.
        teachers: by name.
        k: units of the output.
        y: labels as they were given.

    Raises:
        ValueError: the models contradict each other, or `y` are numbers between 0 and 1
            of which nobody says what they are.
    """
    if declared is not None:
        return check_kind(declared, k)
    named = {f"student '{student.name}'": student}
    named |= {f"teacher '{name}'": teacher for name, teacher in teachers.items()}
    known = {name: _kind_known(model, k) for name, model in named.items()}
    found = {name: kind for name, kind in known.items() if kind is not None}
    squared = continuous in found.values()
    certain = {name: kind for name, kind in found.items() if kind is not continuous}
    # One unit tells two classes apart, whatever its loss.
    if k > 1 and certain:
        if len({kind.NAME for kind in certain.values()}) > 1:
            said = ", ".join(f"{name} is {kind.NAME}" for name, kind in certain.items())
            raise ValueError(
                "`output_kind` must say what the outputs mean where models disagree. "
                f"Received: output_kind=None, and {said}"
            )
        return next(iter(certain.values()))
    return _kind_by_labels(y, k, squared and not certain)


def _kind_known(teacher: Any, k: int) -> Kind | None:
    """What a model, a trajectory or a cache says of its output."""
    if isinstance(teacher, keras.Model):
        (kind,) = LiveTeacher(teacher, "logits", {}).output_kinds(["output"])
        return kind
    if isinstance(teacher, TeacherTrajectory | SupervisionCache | CachedMean):
        recorded = teacher.output_kinds
        if recorded is None:
            # Version 0.1, for which every output told classes apart.
            return kind_of_classes(k)
        name = recorded[0] if len(recorded) == 1 else None
        return None if name is None else kind_named(name)
    return None


def _kind_by_labels(y: NDArray[Any] | None, k: int, squared: bool) -> Kind:
    """What `y` says, where no model says more than that its error is squared."""
    classes = kind_of_classes(k)
    if y is None:
        return continuous if squared else classes
    if y.dtype.kind not in "fiub" or y.ndim not in (1, 2) or y.size == 0:
        return classes  # and `y` is refused
    width = 1 if y.ndim == 1 else y.shape[1]
    if width == 1 and np.isin(y, np.arange(number_of_classes(k))).all():
        return continuous if squared and k == 1 and y.dtype.kind == "f" else classes
    if width == k > 1 and are_zeros_and_ones(y):
        return categorical if are_one_hot(y) else bernoulli
    if squared:
        return continuous
    if width != k or (y == np.round(y)).all():
        return classes
    if y.min() >= 0 and y.max() <= 1:
        raise ValueError(
            "`output_kind` must say what the outputs mean where `y` are numbers from 0 "
            f"to 1. Received: output_kind=None, y of shape {y.shape} that are neither "
            "classes nor labels"
        )
    return continuous
