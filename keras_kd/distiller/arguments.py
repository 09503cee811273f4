"""What a distiller asks of its arguments, checked before anything is changed."""

import numbers
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras

from keras_kd.arguments import (
    check_boolean,
    check_instance,
    check_number,
    shown,
)
from keras_kd.distiller.compiled_form import warn_of_other_form
from keras_kd.distiller.finite_logs import FiniteLogs
from keras_kd.forward import output_spec
from keras_kd.losses import SoftTargets
from keras_kd.losses.of_keras import distillation_loss_of
from keras_kd.teachers.cache import CachedMean, SupervisionCache


def check_models(teacher: Any, student: Any) -> None:
    """Refuses what is no pair of a built teacher and a separate student.

    Raises:
        ValueError: names the argument and what it lacks.
    """
    if not isinstance(student, keras.Model):
        raise ValueError(
            "`student` must be a `keras.Model`. Received: "
            f"student={student} of type {type(student).__name__}"
        )
    if teacher is None or isinstance(teacher, SupervisionCache | CachedMean):
        return
    if not isinstance(teacher, keras.Model):
        raise ValueError(
            "`teacher` must be a `keras.Model` or a `SupervisionCache`. Received: "
            f"teacher={teacher} of type {type(teacher).__name__}"
        )
    if not teacher.built:
        raise ValueError(
            "`teacher` must be built: it has no weights to teach with. Received: "
            f"teacher '{teacher.name}', not built. Call it once on a batch, or load it."
        )
    own = {id(v) for v in student.variables}
    shared = [v.path for v in teacher.variables if id(v) in own]
    if shared:
        raise ValueError(
            "`teacher` and `student` must not share weights, or training the student "
            f"would change the teacher. Received: {len(shared)} shared variables, "
            f"'{shared[0]}' first. Use `keras.models.clone_model`."
        )


def check_replacement(distiller: Any, teacher: Any, fit_runs: bool) -> None:
    """Refuses another teacher that is none, or cannot take the place of this one.

    Args:
        distiller: whose teacher is replaced.
        teacher: the new one.
        fit_runs: whether it is while `fit` runs.

    Raises:
        ValueError: says which.
    """
    check_models(teacher, distiller.student)
    if teacher is None:
        raise ValueError("`teacher` must be a teacher. Received: teacher=None")
    if distiller.train_teacher and distiller.supervisor is not None:
        raise ValueError("A teacher that is trained cannot be replaced.")
    both = (distiller.teacher, teacher)
    if fit_runs and not all(isinstance(one, keras.Model) for one in both):
        raise ValueError(
            "`teacher` cannot be replaced by or in place of predictions that are held "
            "in files while `fit` runs: when it begins they are joined to the data. "
            f"Received: {_called(teacher)} in place of {_called(both[0])}. Assign it "
            "between two calls of `fit`, the second with `initial_epoch`; through the "
            "checkpoints of one cache goes `OnlineTeacher`."
        )


def _called(teacher: Any) -> str:
    is_model = isinstance(teacher, keras.Model)
    return f"the model '{teacher.name}'" if is_model else repr(teacher)


def check_compatible(
    teacher: keras.Model, student: keras.Model, losses: Iterable[Any]
) -> None:
    """Refuses models that a loss cannot compare, as far as they tell before they run.

    Raises:
        ValueError: their outputs, or what losses tap, do not go together.
    """
    losses = list(losses)
    check_same_outputs(output_spec(teacher), output_spec(student), losses)
    for loss in losses:
        loss.validate_model_compatibility(teacher, student)


def check_trained_teacher(
    teacher: Any, train_teacher: bool, save_teacher: bool, teacher_precision: Any
) -> None:
    """Refuses ways to use a teacher that do not go together.

    Raises:
        ValueError: a teacher that is to be trained cannot be, or would not be saved; or
            one of less precision does not run, or is trained.
    """
    check_boolean("train_teacher", train_teacher)
    check_boolean("save_teacher", save_teacher)
    runs = isinstance(teacher, keras.Model)
    if train_teacher and not (runs and save_teacher):
        raise ValueError(
            "`train_teacher=True` needs a teacher that is also saved, or the run "
            f"could not go on. Received: teacher={teacher}, "
            f"save_teacher={save_teacher}"
        )
    if teacher_precision is not None and (train_teacher or not runs):
        raise ValueError(
            "`teacher_precision` is for a frozen teacher that runs. Received: "
            f"teacher_precision={teacher_precision!r}, teacher={teacher}, "
            f"train_teacher={train_teacher}"
        )


def named_losses(losses: Any) -> dict[str, keras.distillation.DistillationLoss]:
    """One loss, a list or a dict of losses as a dict; names from the classes.

    A plain loss of Keras is the one that it stands for.

    Raises:
        ValueError: none at all, something that is no distillation loss, or a name
            that cannot stand in a log.
    """
    if losses is None:
        losses = SoftTargets()
    if isinstance(losses, str) or callable(losses):
        losses = [distillation_loss_of("distillation_losses", losses)]
    elif isinstance(losses, keras.distillation.DistillationLoss):
        losses = [losses]
    if not isinstance(losses, Mapping | list | tuple) or not losses:
        raise ValueError(
            "`distillation_losses` must be a `keras.distillation.DistillationLoss`, "
            "a loss of Keras that stands for one, or a list or dict of them. Received: "
            f"distillation_losses={shown(losses)}"
        )
    if isinstance(losses, Mapping):
        named = {
            name: distillation_loss_of(str(name), loss) for name, loss in losses.items()
        }
    else:
        named = {}
        for i, loss in enumerate(losses):
            loss = distillation_loss_of(f"distillation_losses[{i}]", loss)
            name = base = _snake_case(type(loss).__name__)
            count = 1
            while name in named:
                count += 1
                name = f"{base}_{count}"
            named[name] = loss
    for name in named:
        reserved = ("", "loss", "student", "teacher", "distillation")
        if not isinstance(name, str) or name in reserved or name.startswith("val_"):
            raise ValueError(
                "A name in `distillation_losses` must be a string that no other log "
                f"has. Received: name={name!r}"
            )
    return named


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def loss_weights(weights: Any, losses: Mapping[str, object]) -> list[float]:
    """A weight for each loss, in their order.

    Raises:
        ValueError: another number of weights than losses, or one that is negative or
            not finite.
    """
    if weights is None:
        return [1.0] * len(losses)
    if isinstance(weights, numbers.Real):
        weights = [weights]
    check_instance(
        "distillation_loss_weights",
        weights,
        (Mapping, list, tuple),
        "a number, or a list or dict with one for each loss",
    )
    if isinstance(weights, Mapping):
        if set(weights) != set(losses):
            raise ValueError(
                "`distillation_loss_weights` must name the losses "
                f"{list(losses)}. Received: names {list(weights)}"
            )
        weights = [weights[name] for name in losses]
    if len(weights) != len(losses):
        raise ValueError(
            "`distillation_loss_weights` must have one weight for each of the "
            f"{len(losses)} losses. Received: {len(weights)} weights"
        )
    return [
        check_number("distillation_loss_weights", weight, at_least=0)
        for weight in weights
    ]


def for_each_student(teacher_outputs: Any, student_outputs: Any) -> Any:
    """The teacher's single output once for each of several outputs of the student.

    Several students in one model, `keras.Model(x, {"a": a(x), "b": b(x)})`, learn from
    the same word.

    Args:
        teacher_outputs: structure of tensors or specs, or `None` if not known yet.
        student_outputs: likewise.

    Returns:
        `teacher_outputs`, in the structure of the student's where they are one and
        those are several.
    """
    several = len(keras.tree.flatten(student_outputs)) > 1
    if teacher_outputs is None or not several or keras.tree.is_nested(teacher_outputs):
        return teacher_outputs
    return keras.tree.map_structure(lambda _: teacher_outputs, student_outputs)


def compares_outputs(loss: Any) -> bool:
    """Whether a loss looks at outputs, and not at tapped layers of both models."""
    return (
        getattr(loss, "teacher_layer_name", None) is None
        or getattr(loss, "student_layer_name", None) is None
    )


def outputs_of_losses(
    losses: Mapping[str, Any], output_names: Sequence[str]
) -> list[int | None]:
    """Which output each loss is for: one that has the name of an output, that one.

    Args:
        losses: by name. Those of tapped layers are for what they tap.
        output_names: of the student; of a single output nothing is asked.

    Returns:
        For each loss the position of its output, `None`: all of them.

    Raises:
        ValueError: of losses that compare outputs, some have the name of one and some
            have not.
    """
    of_outputs = {
        name
        for name, loss in losses.items()
        if getattr(loss, "teacher_layer_name", None) is None
        and getattr(loss, "student_layer_name", None) is None
    }
    named = of_outputs & set(output_names)
    if len(output_names) < 2 or not named:
        return [None] * len(losses)
    if others := of_outputs - named:
        raise ValueError(
            "`distillation_losses` whose names are those of outputs are each for that "
            "output, others are for all: a dict has the one or the other (and losses "
            f"of tapped layers). Received: {sorted(named)} beside {sorted(others)}, "
            f"for outputs {list(output_names)}"
        )
    return [output_names.index(name) if name in named else None for name in losses]


def tapped_paths(losses: Iterable[Any], attribute: str) -> list[str]:
    """The paths of the layers that losses tap.

    Args:
        losses: distillation losses.
        attribute: `"teacher_layer_name"` or `"student_layer_name"`.
    """
    paths = [getattr(loss, attribute, None) for loss in losses]
    return [path for path in dict.fromkeys(paths) if path is not None]


_ONE_OF = (
    ". `keras_kd.teachers.output_of(teacher, name_or_index)` is a teacher of one of "
    "its outputs."
)


def check_same_outputs(
    teacher_outputs: Any, student_outputs: Any, losses: Iterable[Any]
) -> None:
    """Refuses outputs of other structure or shape where a loss compares them.

    Args:
        teacher_outputs: structure of tensors or specs, or `None` if not known yet.
        student_outputs: likewise.
        losses: those that tap both models' layers do not compare outputs.
    """
    if teacher_outputs is None or student_outputs is None:
        return
    compared = [loss for loss in losses if compares_outputs(loss)]
    if not compared:
        return
    teacher_outputs = for_each_student(teacher_outputs, student_outputs)
    teacher_shapes = _shapes(teacher_outputs)
    student_shapes = _shapes(student_outputs)
    if _structure(teacher_outputs) != _structure(student_outputs) or not all(
        _agree(t, s) for t, s in zip(teacher_shapes, student_shapes, strict=True)
    ):
        raise ValueError(
            "`teacher` and `student` must give outputs of the same structure and shape "
            f"for {type(compared[0]).__name__}. Received: teacher outputs "
            f"{teacher_shapes}, student outputs {student_shapes}"
            + (_ONE_OF if len(teacher_shapes) > len(student_shapes) else "")
        )


def _structure(outputs: Any) -> Any:
    return keras.tree.map_structure(lambda _: None, outputs)


def _shapes(outputs: Any) -> list[tuple[int | None, ...]]:
    # Without the batch, which a symbolic output leaves open.
    return [tuple(leaf.shape[1:]) for leaf in keras.tree.flatten(outputs)]


def _agree(one: tuple[int | None, ...], other: tuple[int | None, ...]) -> bool:
    return len(one) == len(other) and all(
        a is None or b is None or a == b for a, b in zip(one, other, strict=True)
    )


def check_labels(class_weight: Any, x: Any, y: Any) -> None:
    """Refuses `class_weight` for data without labels, as far as it can be seen.

    Arrays, `tf.data` and `PyDataset` show it; Keras itself refuses `class_weight` for
    generators and torch loaders.
    """
    if class_weight is None or y is not None:
        return
    batch = x
    if hasattr(x, "element_spec"):
        batch = x.element_spec
    elif isinstance(x, keras.utils.PyDataset):
        batch = x[0]
    elif not hasattr(x, "shape") and not isinstance(x, list | tuple | dict):
        return
    else:
        batch = None
    if not (isinstance(batch, tuple) and len(batch) > 1 and batch[1] is not None):
        raise ValueError(
            "`class_weight` needs labels. Received: "
            f"class_weight={class_weight} with data that has no labels."
        )


def check_pairs(batch_size: Any, losses: Iterable[Any]) -> None:
    """Refuses batches of one example where a loss relates the examples of a batch.

    Raises:
        ValueError: names the loss.
    """
    for loss in losses:
        if batch_size == 1 and getattr(loss, "relates_examples", False):
            raise ValueError(
                f"{type(loss).__name__} relates the examples of a batch: `batch_size` "
                "must be at least 2, better 32. Received: batch_size=1"
            )


def check_ready(distiller: Any) -> None:
    """Refuses to train without a teacher, or without a loss that is asked for.

    Raises:
        ValueError: there is no teacher, or no loss of the labels where one is mixed in.
    """
    if distiller.teacher is None:
        raise ValueError(
            "`fit` needs a teacher. Received: teacher=None (it was not saved with "
            "this distiller). Assign one: `distiller.teacher = teacher`."
        )
    if distiller.compiled:
        warn_of_other_form(distiller.loss, distiller.student_outputs)
    needs_labels = distiller.alpha < 1.0 or distiller.train_teacher
    if distiller.compiled and distiller.loss is None and needs_labels:
        raise ValueError(
            f"alpha={distiller.alpha}, train_teacher={distiller.train_teacher} needs "
            "a loss of the labels. Received: compile(loss=None)."
        )


def in_order(callbacks: Any) -> Any:
    """Callbacks that write into the epoch logs before those that read them.

    One that reads them for NaN comes last.
    """
    if isinstance(callbacks, keras.callbacks.Callback):
        callbacks = [callbacks]
    check_instance(
        "callbacks",
        callbacks,
        (list, tuple, keras.callbacks.CallbackList, type(None)),
        "a `keras.callbacks.Callback` or a list of them",
    )
    if isinstance(callbacks, keras.callbacks.CallbackList):
        if not any(isinstance(c, FiniteLogs) for c in callbacks.callbacks):
            callbacks.append(FiniteLogs())
        return callbacks
    first = sorted(
        callbacks or [], key=lambda c: not getattr(c, "writes_epoch_logs", False)
    )
    return [*first, FiniteLogs()]
