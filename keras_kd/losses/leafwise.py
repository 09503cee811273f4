"""Losses that take nested outputs leaf by leaf."""

from collections.abc import Mapping

import keras
from keras import ops

from keras_kd.outputs.form import at_least_float32


class LeafwiseLoss(keras.distillation.DistillationLoss):
    """A distillation loss that is a sum of one term for each output.

    A subclass names in the signature of its `compute_loss` what it takes beside the
    outputs, and hands it to `sum_over_leaves`.
    """

    teacher_layer_name: str | None = None
    student_layer_name: str | None = None

    def check_shapes(self, teacher_shape, student_shape) -> None:
        """Refuses one pair of outputs by their shapes.

        Raises:
            ValueError: they do not fit together.
        """
        same = len(teacher_shape) == len(student_shape) > 1 and all(
            dimensions_agree(t, s)
            for t, s in zip(teacher_shape, student_shape, strict=True)
        )
        if not same:
            self.refuse_shapes(
                "of the same shape `(batch, ..., classes)`",
                teacher_shape,
                student_shape,
            )

    def refuse_shapes(self, expected, teacher_shape, student_shape):
        """Raises the error of `check_shapes`."""
        raise ValueError(
            f"{type(self).__name__} needs `teacher_outputs` and `student_outputs` "
            f"{expected}. Received: shapes {teacher_shape} and {student_shape}"
        )

    def validate_outputs(self, teacher_outputs, student_outputs):
        """Refuses outputs that cannot be compared.

        Raises:
            ValueError: structures or shapes disagree.
        """
        try:
            keras.tree.assert_same_structure(teacher_outputs, student_outputs)
        except (ValueError, TypeError) as error:
            raise ValueError(
                "`teacher_outputs` and `student_outputs` must have the same "
                f"structure. Received: {_describe(teacher_outputs)} and "
                f"{_describe(student_outputs)}"
            ) from error
        pairs = zip(
            keras.tree.flatten(teacher_outputs),
            keras.tree.flatten(student_outputs),
            strict=True,
        )
        for teacher, student in pairs:
            self.check_shapes(tuple(teacher.shape), tuple(student.shape))

    @classmethod
    def from_config(cls, config):
        """A loss with the given configuration."""
        return cls(**config)


def sum_over_leaves(leaf_loss, teacher_outputs, student_outputs, **shared):
    """The sum of one term for each output.

    Args:
        leaf_loss: called as `leaf_loss(teacher, student, outputs, **own)`: what
            `comparable` returns, the student's output as it came, with its mask, and
            this output's part of what is shared.
        teacher_outputs: tensor, or a structure of tensors.
        student_outputs: likewise.
        **shared: by name, one tensor for all outputs, a structure with a tensor for
            each, or `None`.

    Returns:
        Scalar.

    Raises:
        ValueError: what is shared has another structure than the outputs.
    """
    per_leaf = {
        name: _one_per_leaf(name, value, student_outputs)
        for name, value in shared.items()
    }
    pairs = zip(
        keras.tree.flatten(teacher_outputs),
        keras.tree.flatten(student_outputs),
        strict=True,
    )
    terms = []
    for i, (teacher, student) in enumerate(pairs):
        own = {name: values[i] for name, values in per_leaf.items()}
        terms.append(leaf_loss(*comparable(teacher, student), student, **own))
    return sum(terms)


def comparable(teacher, student):
    """A pair of outputs as a loss takes them.

    Returns:
        Teacher, held constant and of the student's dtype; student, float32 or wider.
    """
    student = at_least_float32(ops.convert_to_tensor(student))
    teacher = ops.cast(ops.convert_to_tensor(teacher), student.dtype)
    return ops.stop_gradient(teacher), student


def dimensions_agree(one, other) -> bool:
    """Whether two dimensions are equal, or one is not known yet."""
    return one is None or other is None or one == other


def _one_per_leaf(argument, value, outputs):
    count = len(keras.tree.flatten(outputs))
    if not keras.tree.is_nested(value):
        return [value] * count
    # Lists and tuples are one: `tf.data` turns lists into tuples.
    agree = isinstance(value, Mapping) == isinstance(outputs, Mapping) and (
        not isinstance(value, Mapping) or set(value) == set(outputs)
    )
    values = keras.tree.flatten(value)
    if not agree or len(values) != count:
        raise ValueError(
            f"`{argument}` must be one tensor, or one for each output in the "
            f"structure of the outputs. Received: {argument}={_describe(value)} for "
            f"outputs {_describe(outputs)}"
        )
    return values


def _describe(structure):
    return keras.tree.map_structure(
        lambda leaf: (
            type(leaf).__name__
            if not hasattr(leaf, "shape")
            else f"tensor {tuple(leaf.shape)}"
        ),
        structure,
    )
