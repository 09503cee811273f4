"""The logits of everything that can be compared as a teacher."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import keras
import numpy as np
from numpy.typing import ArrayLike, NDArray

from keras_kd import backend
from keras_kd.complexity.ranking.cached_logits import (
    Cached,
    cached_stages,
    check_cached,
)
from keras_kd.forward import Examples
from keras_kd.ntk.outputs import logits_of
from keras_kd.outputs import Kind, check_last_activation, kind_of_classes, to_logits
from keras_kd.progress import Progress
from keras_kd.teachers import SupervisionCache, TeacherTrajectory
from keras_kd.teachers.cache import CachedMean
from keras_kd.teachers.finite_weights import check_finite_weights
from keras_kd.teachers.no_memory import check_no_memory

Teacher: TypeAlias = keras.Model | TeacherTrajectory | Cached | ArrayLike
Teachers: TypeAlias = Teacher | Sequence[Teacher] | Mapping[str, Teacher]
# Runs a model over examples, so many a pass: logits `(n, k)`.
Run: TypeAlias = Callable[[Examples, int], NDArray[Any]]

# Examples a forward pass.
BATCH = 256


class TeacherLogits(NamedTuple):
    """What one teacher, or one checkpoint of it, says of all examples.

    Attributes:
        name: of the teacher.
        step: of the checkpoint; `None`: no checkpoint.
        logits: float64 `(n, k)`; or values.
    """

    name: str
    step: int | None
    logits: NDArray[np.float64]


def named_teachers(teachers: Teachers) -> dict[str, Any]:
    """One teacher, a list or a dictionary of teachers as a dictionary.

    Those without a name have a model's, a trajectory's or a cache's folder's, or a
    number.

    Raises:
        ValueError: there is none.
        TypeError: one is no model, trajectory, cache or array.
    """
    named: dict[str, Any]
    if isinstance(teachers, Mapping):
        named = {str(name): teacher for name, teacher in teachers.items()}
    else:
        several = isinstance(teachers, list | tuple)
        listed: Any = teachers if several else [teachers]
        named = {}
        for i, teacher in enumerate(listed):
            name = _name(teacher) or (f"teacher {i}" if several else "teacher")
            named[f"{name} ({i})" if name in named else name] = teacher
    if not named:
        raise ValueError(
            "`teachers` must hold at least one teacher. Received: "
            f"teachers={teachers!r}"
        )
    for name, teacher in named.items():
        known = isinstance(teacher, keras.Model | TeacherTrajectory | Cached)
        if not known and not hasattr(teacher, "__array__"):
            raise TypeError(
                "`teachers` must be Keras models, `TeacherTrajectory`s, "
                "`SupervisionCache`s or arrays of logits. Received: teacher "
                f"'{name}' of type {type(teacher).__name__}"
            )
    return named


def check_teachers(
    named: dict[str, Any],
    examples: Examples,
    k: int,
    outputs: str,
    kind: Kind,
    declared: Sequence[Kind] = (),
) -> None:
    """Refuses what can be seen to be wrong before any teacher is run.

    Args:
        named: as `named_teachers` gives them.
        examples: `n` of them.
        k: number of outputs.
        outputs: `"logits"` or `"probabilities"`, what models give.
        kind: of the outputs.
        declared: the kind, where the last activations are to agree with it.

    Raises:
        ValueError: an array of another shape or not finite, a model that ends in
            something else than `outputs`, has weights that are not finite or goes on
            from batch to batch, a
            trajectory that cannot be loaded, a cache without one of the examples.
        FileNotFoundError: a checkpoint is missing.
    """
    for name, teacher in named.items():
        if isinstance(teacher, TeacherTrajectory):
            teacher.check()
        elif isinstance(teacher, keras.Model):
            check_last_activation(teacher, outputs, "teacher_outputs", declared)
            check_finite_weights(teacher, name)
            check_no_memory(teacher)
        elif isinstance(teacher, Cached):
            check_cached(name, teacher, examples.values, k, kind)
        else:
            _checked(name, keras.ops.convert_to_numpy(teacher), examples.n, k)


def logits_of_teachers(
    named: dict[str, Any],
    examples: Examples,
    k: int,
    outputs: str,
    batch_size: int | None,
    progress: bool,
    kind: Kind | None = None,
    declared: Sequence[Kind] = (),
) -> list[TeacherLogits]:
    """The logits of all teachers, the checkpoints of a trajectory one after another.

    Args:
        named: as `named_teachers` gives them.
        examples: `n` of them.
        k: number of outputs.
        outputs: `"logits"` or `"probabilities"`, what models give.
        batch_size: examples a forward pass; `None`: 256.
        progress: whether to show a progress bar.
        kind: of the outputs; `None`: they tell classes apart.
        declared: as in `check_teachers`.

    Raises:
        ValueError: as `check_teachers`.
    """
    found = []
    size = min(batch_size or BATCH, examples.n)
    kind = kind or kind_of_classes(k)
    staged = TeacherTrajectory | SupervisionCache
    total = sum(len(t) if isinstance(t, staged) else 1 for t in named.values())
    with Progress(disable=not progress) as bar:
        task = bar.add_task("teachers", total=total)
        for name, teacher in named.items():
            stages = _stages(teacher, examples, outputs, size, kind, declared)
            for step, logits in stages:
                label = name if step is None else f"{name}, step {step}"
                logits = _checked(label, logits, examples.n, k)
                found.append(TeacherLogits(name, step, logits))
                bar.advance(task)
    return found


def _stages(
    teacher: Any,
    examples: Examples,
    outputs: str,
    size: int,
    kind: Kind,
    declared: Sequence[Kind],
) -> Iterator[tuple[int | None, NDArray[Any]]]:
    if isinstance(teacher, TeacherTrajectory):
        model = teacher.load(0)
        check_last_activation(model, outputs, "teacher_outputs", declared)
        run = runner_of(model, outputs, kind)
        for checkpoint in teacher:
            if checkpoint.index > 0:
                teacher.load(checkpoint.index, model)
            yield checkpoint.step, run(examples, size)
    elif isinstance(teacher, keras.Model):
        yield None, runner_of(teacher, outputs, kind)(examples, size)
    elif isinstance(teacher, Cached):
        yield from cached_stages(teacher, examples.values)
    else:
        yield None, keras.ops.convert_to_numpy(teacher)


def runner_of(model: keras.Model, outputs: str, kind: Kind | None = None) -> Run:
    """Runs `model` with its weights of that moment, compiled once.

    Args:
        model: of one output.
        outputs: `"logits"` or `"probabilities"`, what it gives.
        kind: of the output; `None`: it tells classes apart.
    """

    def forward(trainable: list[Any], non_trainable: list[Any], inputs: Any) -> Any:
        given = logits_of(model, inputs, trainable, non_trainable)
        return to_logits(given, outputs, [kind])

    compiled = backend.compile_forward(forward)

    def run(examples: Examples, size: int) -> NDArray[Any]:
        trainable = [v.value for v in model.trainable_variables]
        non_trainable = [v.value for v in model.non_trainable_variables]
        parts = []
        for start in range(0, examples.n, size):
            stop = min(start + size, examples.n)
            inputs = examples.batch(start, stop, size)
            logits = backend.to_numpy(compiled(trainable, non_trainable, inputs))
            parts.append(logits[: stop - start])
        return np.concatenate(parts)

    return run


def _checked(name: str, logits: NDArray[Any], n: int, k: int) -> NDArray[np.float64]:
    """Logits as float64 `(n, k)`.

    Raises:
        ValueError: shape, dtype or an entry.
    """
    columns = logits[:, None] if logits.ndim == 1 else logits
    if columns.shape != (n, k):
        raise ValueError(
            f"`teachers` must give outputs of shape {(n, k)}: one row for each example "
            "of `x`, and the student's number of outputs. Received: teacher "
            f"'{name}' with shape {logits.shape}"
        )
    if columns.dtype.kind not in "fiu":
        raise ValueError(
            f"`teachers` must give real numbers. Received: teacher '{name}' with "
            f"dtype {columns.dtype}"
        )
    bad = columns.size - np.count_nonzero(np.isfinite(columns))
    if bad:
        raise ValueError(
            f"`teachers` must give finite outputs. Received: teacher '{name}' with "
            f"{bad} of {columns.size} entries that are not"
        )
    return columns.astype(np.float64)


def _name(teacher: object) -> str | None:
    if isinstance(teacher, TeacherTrajectory | SupervisionCache):
        return teacher.folder.name
    if isinstance(teacher, CachedMean):
        several = len(teacher.members) > 1
        return f"{'mean' if several else 'stage'} of {teacher.teacher_name}"
    return teacher.name if isinstance(teacher, keras.Model) else None
