"""The activation in which a model ends, and what it says of the outputs."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_kd.keras_internals import call_inputs, origin, symbolic_outputs
from keras_kd.outputs.kinds import Kind

# What only moves numbers, as layers and as functions of `keras.ops`.
_PASSES_ON = (
    "Reshape",
    "Flatten",
    "Identity",
    "Permute",
    "Squeeze",
    "ExpandDims",
    "Transpose",
    "Cast",
)


def last_activations(model: Any) -> list[str | None]:
    """The name of each output's last activation, in the order of the leaves.

    Only what can be seen is told: the operations that give the outputs of a functional
    or sequential model. A subclassed model is taken at its word.

    Returns:
        `"softmax"`, `"sigmoid"`, `"linear"`, another name, or `None` where it cannot
        be told; an empty list for a subclassed model.
    """
    outputs = symbolic_outputs(model) if isinstance(model, keras.Model) else None
    leaves = [] if outputs is None else keras.tree.flatten(outputs)
    return [_last_activation(leaf) for leaf in leaves]


def _last_activation(tensor: Any) -> str | None:
    source = origin(tensor)
    operation = source.operation
    if isinstance(operation, keras.Model):
        inner = symbolic_outputs(operation)
        if inner is None:
            return None
        return _last_activation(keras.tree.flatten(inner)[source.tensor_index])
    name = type(operation).__name__
    ours = type(operation).__module__.split(".")[0] == "keras"
    if ours and name in ("Softmax", "Sigmoid"):
        return name.lower()
    passes_on = ours and name in _PASSES_ON
    known = (keras.layers.Activation, keras.layers.Dense, keras.layers.EinsumDense)
    if isinstance(operation, known):
        activation = getattr(operation.activation, "__name__", None)
        # `Activation("linear")`, as a way to give the outputs a dtype.
        passes_on = activation == "linear" and type(operation) is known[0]
        if not passes_on:
            return activation
    if passes_on:
        before = call_inputs(source)
        return _last_activation(before[0]) if len(before) == 1 else None
    return None


def check_last_activation(
    model: Any, form: str, argument: str, kinds: Sequence[Kind | None] = ()
) -> None:
    """Refuses a model whose last activation contradicts what is said of its outputs.

    Args:
        model: a `keras.Model`.
        form: `"logits"` or `"probabilities"`.
        argument: by which `form` was given, for the message.
        kinds: of each output, as far as they were declared; values have no form.

    Raises:
        ValueError: softmax or sigmoid where logits are declared, a linear layer where
            probabilities are, or an activation of another kind of output.
    """
    activations = last_activations(model)
    declared = (
        list(kinds) if len(kinds) == len(activations) else [None] * len(activations)
    )
    for activation, kind in zip(activations, declared, strict=True):
        name = None if kind is None else kind.NAME
        if (activation, name) in (
            ("softmax", "bernoulli"),
            ("softmax", "continuous"),
            ("sigmoid", "categorical"),
        ):
            raise ValueError(
                "`output_kind` must agree with the last activations. Received: "
                f"output_kind='{name}', but model '{model.name}' ends in {activation}."
            )
        if name == "continuous":
            continue
        if activation in ("softmax", "sigmoid") and form == "logits":
            hint = (
                ", or output_kind='continuous' if these are values"
                if activation == "sigmoid"
                else ""
            )
            raise ValueError(
                f"`{argument}` must agree with the model's last activation. "
                f"Received: {argument}='logits', but model '{model.name}' ends in "
                f"{activation}. Pass {argument}='probabilities'{hint}, or end the "
                "model in a linear layer."
            )
        if activation == "linear" and form == "probabilities":
            raise ValueError(
                f"`{argument}` must agree with the model's last activation. "
                f"Received: {argument}='probabilities', but model '{model.name}' ends "
                f"in a linear layer. Pass {argument}='logits'."
            )
