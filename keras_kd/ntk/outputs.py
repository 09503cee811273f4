"""Which numbers of a model's outputs a kernel is of."""

from typing import Any, Literal, TypeAlias

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike, DTypeLike, NDArray

from keras_kd.forward import call_without_side_effects
from keras_kd.ntk.factors.accumulator import FORMS, Form
from keras_kd.outputs import at_least_float32

# As a user says which outputs are meant.
Choice: TypeAlias = (
    Literal["trace", "per_output", "full", "pseudo"] | int | np.integer[Any] | ArrayLike
)


def logits_of(
    model: keras.Model | None,
    inputs: Any,
    trainable: list[Any] | None = None,
    non_trainable: list[Any] | None = None,
) -> Any:
    """The model's outputs for `m` examples as `(m, k)`, in float32 or wider.

    Outputs of higher rank are flattened: `k` is then the product of their sizes.

    Raises:
        ValueError: there is more than one output, or none of floating dtype.
    """
    assert model is not None, "the model is gone"
    outputs = call_without_side_effects(model, inputs, trainable, non_trainable)
    leaves = keras.tree.flatten(outputs)
    if len(leaves) != 1:
        names = list(outputs) if isinstance(outputs, dict) else len(leaves)
        raise ValueError(
            f"`model` must have one output. Received: model '{model.name}' with the "
            f"outputs {names}. Pass a model of the one that is meant, e.g. "
            "`keras.Model(model.inputs, model.outputs[0])`."
        )
    output = leaves[0]
    if not keras.backend.is_float_dtype(keras.backend.standardize_dtype(output.dtype)):
        raise ValueError(
            f"`model` must have an output of floating dtype. Received: model "
            f"'{model.name}' with dtype {output.dtype}"
        )
    return at_least_float32(ops.reshape(output, (ops.shape(output)[0], -1)))


class Outputs:
    """Which outputs, as cotangents and as the form of the kernel.

    Args:
        outputs: `"trace"`, `"per_output"`, `"full"`, `"pseudo"`, an integer, or a
            `(k,)` vector.
        k: the model's number of outputs.

    Raises:
        ValueError: `outputs` is none of these, or does not fit `k`.
    """

    def __init__(self, outputs: Choice, k: int) -> None:
        self.form: Form = "trace"
        self.vectors: NDArray[np.float64]
        if isinstance(outputs, str):
            if outputs in FORMS:
                self.form = outputs
                self.vectors = np.eye(k)
            elif outputs == "pseudo":
                self.vectors = np.full((1, k), 1 / np.sqrt(k))
            else:
                raise _refusal(outputs, k)
        elif isinstance(outputs, int | np.integer) and not isinstance(outputs, bool):
            if not -k <= outputs < k:
                raise _refusal(outputs, k)
            self.vectors = np.eye(k)[[int(outputs)]]
        else:
            try:
                vector = np.asarray(outputs, np.float64)
            except (TypeError, ValueError):
                raise _refusal(outputs, k) from None
            if vector.shape != (k,) or not np.isfinite(vector).all():
                raise _refusal(outputs, k)
            self.vectors = vector[None]

    @property
    def count(self) -> int:
        """`q`, the number of combinations of outputs."""
        return len(self.vectors)

    def cotangents(self, m: int, dtype: DTypeLike) -> NDArray[Any]:
        """`(q, m, k)`, the same for all `m` examples."""
        return np.repeat(self.vectors[:, None].astype(dtype), m, axis=1)

    def shape(self, n1: int, n2: int) -> tuple[int, ...]:
        """Of the kernel."""
        tail = {"trace": 0, "per_output": 1, "full": 2}[self.form]
        return (n1, n2, *(self.count,) * tail)


def _refusal(outputs: Any, k: int) -> ValueError:
    if not isinstance(outputs, str | int) and hasattr(outputs, "shape"):
        outputs = f"an array of shape {tuple(outputs.shape)}"
    return ValueError(
        "`outputs` must be 'trace', 'per_output', 'full', 'pseudo', the index of one "
        f"of the {k} outputs, or a finite vector of shape ({k},). "
        f"Received: outputs={outputs}"
    )


def are_probabilities(values: NDArray[Any]) -> bool:
    """Whether every row of outputs `(m, k)`, `k > 1`, is non-negative and sums to 1."""
    several = values.shape[1] > 1 and bool((values >= 0).all())
    return several and np.allclose(values.sum(1), 1, atol=1e-4)


def check_not_probabilities(values: NDArray[Any], model: keras.Model) -> None:
    """Refuses softmax outputs, whose sum has no gradient.

    Args:
        values: outputs `(m, k)`.
        model: for the message.

    Raises:
        ValueError: every row is non-negative and sums to 1.
    """
    if are_probabilities(values):
        raise ValueError(
            "`outputs='pseudo'` is the kernel of the sum of the outputs, which for "
            f"probabilities is always 1: the kernel would be 0. Model '{model.name}' "
            "gives probabilities; pass a model of its logits."
        )
