"""What a distiller asks of its arguments, checked before anything is changed."""

import math
import numbers
import re
from collections.abc import Mapping

import keras

from keras_kd.losses import SoftTargets
from keras_kd.teachers.cache import CachedMean, SupervisionCache


def check_models(teacher, student) -> None:
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


def check_alpha(alpha) -> None:
    """Refuses an `alpha` outside [0, 1]."""
    if (
        not isinstance(alpha, int | float)
        or isinstance(alpha, bool)
        or not 0.0 <= alpha <= 1.0
    ):
        raise ValueError(f"`alpha` must be in [0, 1]. Received: alpha={alpha}")


def named_losses(losses) -> dict[str, keras.distillation.DistillationLoss]:
    """One loss, a list or a dict of losses as a dict; names from the classes.

    Raises:
        ValueError: none at all, something that is no distillation loss, or a name
            that cannot stand in a log.
    """
    if losses is None:
        losses = SoftTargets()
    if isinstance(losses, keras.distillation.DistillationLoss):
        losses = [losses]
    if not isinstance(losses, Mapping | list | tuple) or not losses:
        raise ValueError(
            "`distillation_losses` must be a `keras.distillation.DistillationLoss`, "
            f"or a list or dict of them. Received: distillation_losses={losses}"
        )
    if isinstance(losses, Mapping):
        named = dict(losses)
    else:
        named = {}
        for loss in losses:
            name = base = _snake_case(type(loss).__name__)
            count = 1
            while name in named:
                count += 1
                name = f"{base}_{count}"
            named[name] = loss
    for name, loss in named.items():
        if not isinstance(loss, keras.distillation.DistillationLoss):
            raise ValueError(
                "`distillation_losses` must hold `keras.distillation.DistillationLoss` "
                f"objects. Received: {name}={loss} of type {type(loss).__name__}"
            )
        if not isinstance(name, str) or name in ("", "student", "distillation"):
            raise ValueError(
                "A name in `distillation_losses` must be a string that no other log "
                f"has. Received: name={name!r}"
            )
    return named


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def loss_weights(weights, losses: Mapping[str, object]) -> list[float]:
    """A weight for each loss, in their order.

    Raises:
        ValueError: another number of weights than losses, or one that is negative or
            not finite.
    """
    if weights is None:
        return [1.0] * len(losses)
    if isinstance(weights, numbers.Real):
        weights = [weights]
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
    for weight in weights:
        if (
            not isinstance(weight, numbers.Real)
            or not math.isfinite(weight)
            or weight < 0
        ):
            raise ValueError(
                "`distillation_loss_weights` must be finite and >= 0. Received: "
                f"{weight}"
            )
    return [float(weight) for weight in weights]


def for_each_student(teacher_outputs, student_outputs):
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


def check_same_outputs(teacher_outputs, student_outputs, losses) -> None:
    """Refuses outputs of other structure or shape where a loss compares them.

    Args:
        teacher_outputs: structure of tensors or specs, or `None` if not known yet.
        student_outputs: likewise.
        losses: those that tap both models' layers do not compare outputs.
    """
    if teacher_outputs is None or student_outputs is None:
        return
    compared = [
        loss
        for loss in losses
        if getattr(loss, "teacher_layer_name", None) is None
        or getattr(loss, "student_layer_name", None) is None
    ]
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
        )


def _structure(outputs):
    return keras.tree.map_structure(lambda _: None, outputs)


def _shapes(outputs) -> list[tuple]:
    # Without the batch, which a symbolic output leaves open.
    return [tuple(leaf.shape[1:]) for leaf in keras.tree.flatten(outputs)]


def _agree(one: tuple, other: tuple) -> bool:
    return len(one) == len(other) and all(
        a is None or b is None or a == b for a, b in zip(one, other, strict=True)
    )


def check_labels(class_weight, x, y) -> None:
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
