"""What models, weights and options a kernel can be computed of."""

from collections.abc import Iterable
from typing import Any, Literal, TypeAlias

import keras
import numpy as np
from numpy.typing import NDArray

from keras_kd.arguments import check_choice, check_integer_or_none

Implementation: TypeAlias = Literal["auto", "structured", "jacobian"]
Accumulate: TypeAlias = Literal["float32", "float64"]

IMPLEMENTATIONS: tuple[Implementation, ...] = ("auto", "structured", "jacobian")


def check_model(model: object) -> None:
    """Refuses what no kernel can be computed of, before anything is.

    Raises:
        TypeError: `model` is not a Keras model.
        ValueError: it is not built.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(
            "`model` must be a `keras.Model`. "
            f"Received: an object of type {type(model).__name__}"
        )
    if not model.built:
        raise ValueError(
            f"`model` must be built. Received: model '{model.name}', which has no "
            "weights yet; call it once on a batch."
        )


def check_options(batch_size: object, implementation: object) -> None:
    """Refuses a size or an implementation that there is not.

    Raises:
        ValueError: names the argument and the value.
    """
    check_integer_or_none(
        "batch_size", batch_size, at_least=1, expected="a positive integer or None"
    )
    check_choice("implementation", implementation, IMPLEMENTATIONS)


def check_accumulate(accumulate: object) -> np.dtype[Any]:
    """The dtype of sums.

    Raises:
        ValueError: it is neither `"float32"` nor `"float64"`.
    """
    check_choice(
        "accumulate",
        accumulate,
        ("float32", "float64"),
        expected="'float32' or 'float64'",
    )
    return np.dtype(str(accumulate))


def check_no_overflow(products: NDArray[Any]) -> None:
    """Refuses a kernel, or a part of one, that is not finite.

    Raises:
        OverflowError: it is not.
    """
    if not np.isfinite(products).all():
        raise OverflowError(
            "The kernel must be finite. Received: products of gradients beyond "
            f"{np.finfo(products.dtype).max:.2g}, the largest {products.dtype}. Sum "
            "them with accumulate='float64', or scale the model's outputs down."
        )


def variable_places(
    model: keras.Model, variables: Iterable[keras.Variable] | None
) -> list[int]:
    """The places of `variables` among the model's trainable variables.

    Raises:
        ValueError: one is not among them, or there are none.
    """
    trainable = model.trainable_variables
    if variables is None:
        # What an optimizer overwrites (float8 scales) has no derivative to speak of.
        meant = [
            i
            for i, v in enumerate(trainable)
            if not getattr(v, "overwrite_with_gradient", False)
        ]
        if not meant:
            raise ValueError(
                "`model` must have trainable weights. Received: model "
                f"'{model.name}', in which everything is frozen"
            )
        return meant
    places = {id(v): i for i, v in enumerate(trainable)}
    if isinstance(variables, keras.Variable) or not isinstance(variables, Iterable):
        raise ValueError(
            "`variables` must be a list of some of `model.trainable_variables`. "
            f"Received: variables of type {type(variables).__name__}"
        )
    variables = list(variables)
    unknown = [
        getattr(v, "path", type(v).__name__) for v in variables if id(v) not in places
    ]
    if unknown or not variables:
        raise ValueError(
            "`variables` must be some of `model.trainable_variables`. "
            f"Received: {unknown or 'none'}"
        )
    return sorted({places[id(v)] for v in variables})
