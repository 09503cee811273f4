"""Losses that take nested outputs leaf by leaf."""

from collections.abc import Callable, Mapping
from typing import Any, NoReturn, Self, TypeAlias

import keras
from keras import ops

from keras_kd.outputs import at_least_float32, kind_of_classes
from keras_kd.written import as_written

Shape: TypeAlias = tuple[int | None, ...]


class LeafwiseLoss(keras.distillation.DistillationLoss):
    """A distillation loss that is a sum of one term for each output.

    A subclass names in the signature of its `compute_loss` what it takes beside the
    outputs, and hands it to `sum_over_leaves`.
    """

    teacher_layer_name: str | None = None
    student_layer_name: str | None = None
    of_classes = False
    """Whether it is about probabilities of classes, and of nothing else."""
    relates_examples = False
    """Whether it is about pairs of examples, and says nothing of one."""
    needs_kind = False
    """Whether it is another one for each kind of output."""

    __repr__ = as_written

    def check_shapes(self, teacher_shape: Shape, student_shape: Shape) -> None:
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

    def refuse_shapes(
        self, expected: str, teacher_shape: Shape, student_shape: Shape
    ) -> NoReturn:
        """Raises the error of `check_shapes`."""
        raise ValueError(
            f"{type(self).__name__} needs `teacher_outputs` and `student_outputs` "
            f"{expected}. Received: shapes {teacher_shape} and {student_shape}"
        )

    def validate_outputs(self, teacher_outputs: Any, student_outputs: Any) -> None:
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

    def __call__(
        self, teacher_outputs: Any, student_outputs: Any, **kwargs: Any
    ) -> Any:
        """The loss of one batch, for a loop of one's own.

        Args:
            teacher_outputs: tensor or array, or a structure of them.
            student_outputs: likewise.
            **kwargs: what `compute_loss` takes, as `sample_weight` or `y_true`.

        Returns:
            Scalar.

        Raises:
            ValueError: outputs cannot be compared, or the loss does not take what is
                given.
        """
        self.validate_outputs(
            *keras.tree.map_structure(
                ops.convert_to_tensor, (teacher_outputs, student_outputs)
            )
        )
        return self.compute_loss(teacher_outputs, student_outputs, **kwargs)

    def refuse_weights(self, kwargs: Mapping[str, Any]) -> None:
        """For a loss of relations between examples, which have no weights.

        Raises:
            ValueError: some are among what it was given.
        """
        if kwargs.get("sample_weight") is not None:
            raise ValueError(
                f"{type(self).__name__} relates the examples of a batch and does not "
                "take `sample_weight`: it would not count. Leave it out, or use a loss "
                "that takes it."
            )

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """A loss with the given configuration."""
        return cls(**config)


def sum_over_leaves(
    leaf_loss: Callable[..., Any],
    teacher_outputs: Any,
    student_outputs: Any,
    **shared: Any,
) -> Any:
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
        name: one_per_leaf(name, value, student_outputs)
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


def comparable(teacher: Any, student: Any) -> tuple[Any, Any]:
    """A pair of outputs as a loss takes them.

    Returns:
        Teacher, held constant and of the student's dtype; student, float32 or wider.
    """
    student = at_least_float32(ops.convert_to_tensor(student))
    teacher = ops.cast(ops.convert_to_tensor(teacher), student.dtype)
    return ops.stop_gradient(teacher), student


def check_classes(
    loss: LeafwiseLoss, output_kind: str | None, units: int | None
) -> None:
    """Refuses an output that does not tell classes apart.

    Raises:
        ValueError: it is a value, or a set of labels.
    """
    if output_kind not in (None, kind_of_classes(units).NAME):
        raise ValueError(
            f"{type(loss).__name__} is about the probabilities of classes. Received: "
            f"an output of {units} units with output_kind='{output_kind}'. Use "
            "`SoftTargets` or `LogitMSE`."
        )


def dimensions_agree(one: int | None, other: int | None) -> bool:
    """Whether two dimensions are equal, or one is not known yet."""
    return one is None or other is None or one == other


def one_per_leaf(argument: str, value: Any, outputs: Any) -> list[Any]:
    """What is given for all outputs together, or for each, as a list of one for each.

    Raises:
        ValueError: it has another structure than the outputs.
    """
    count = len(keras.tree.flatten(outputs))
    if not keras.tree.is_nested(value):
        return [value] * count
    # Lists and tuples are one: `tf.data` turns lists into tuples.
    agree = isinstance(value, Mapping) == isinstance(outputs, Mapping) and (
        not isinstance(value, Mapping) or set(value) == set(outputs)
    )
    values: list[Any] = keras.tree.flatten(value)
    if not agree or len(values) != count:
        raise ValueError(
            f"`{argument}` must be one tensor, or one for each output in the "
            f"structure of the outputs. Received: {argument}={_describe(value)} for "
            f"outputs {_describe(outputs)}"
        )
    return values


def _describe(structure: Any) -> Any:
    return keras.tree.map_structure(
        lambda leaf: (
            type(leaf).__name__
            if not hasattr(leaf, "shape")
            else f"tensor {tuple(leaf.shape)}"
        ),
        structure,
    )
