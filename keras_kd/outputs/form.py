"""Logits or probabilities: what a model's outputs mean, and how to make them logits."""

import keras
from keras import ops

# Keras has no public door to masks, and tensors that take no attributes have theirs
# elsewhere.
from keras.src.backend.common.masking import get_keras_mask, set_keras_mask

KINDS = ("logits", "probabilities")

# Probabilities are clipped here before the logarithm, as Keras's own losses do.
_EPSILON = 1e-7


def to_logits(outputs, kind: str):
    """Outputs as float32 (or wider) logits, leaf by leaf.

    Args:
        outputs: tensor `(..., k)`, or a structure of such.
        kind: `"logits"` or `"probabilities"`. Softmax probabilities become
            `log(p)`, the probability of one unit becomes `log(p / (1 - p))`.
    """

    def leaf(x):
        x = at_least_float32(x)
        if kind == "logits":
            return x
        p = ops.clip(x, _EPSILON, 1.0 - _EPSILON)
        logits = ops.log(p)
        if x.shape[-1] == 1:
            logits = logits - ops.log1p(-p)
        return _with_mask_of(x, logits)

    return keras.tree.map_structure(leaf, outputs)


def at_least_float32(x):
    """Half-precision tensors as float32, all others as they are; masks stay."""
    if keras.backend.standardize_dtype(x.dtype) in ("float16", "bfloat16"):
        return _with_mask_of(x, ops.cast(x, "float32"))
    return x


def _with_mask_of(x, converted):
    # The losses leave out what a Keras mask does; arithmetic loses it.
    mask = get_keras_mask(x)
    if mask is not None:
        set_keras_mask(converted, mask)
    return converted


def check_last_activation(model, kind: str, argument: str) -> None:
    """Refuses a model whose last layer contradicts `kind`.

    Only what can be seen is judged: the layers that give the outputs of a functional
    or sequential model. A subclassed model is taken at its word.

    Raises:
        ValueError: softmax or sigmoid where logits are declared, a linear layer where
            probabilities are, or several sigmoid units, which are not one
            distribution over classes.
    """
    for output in keras.tree.flatten(getattr(model, "outputs", None) or []):
        activation = _last_activation(output)
        units = output.shape[-1]
        if activation in ("softmax", "sigmoid") and kind == "logits":
            raise ValueError(
                f"`{argument}` must agree with the model's last activation. "
                f"Received: {argument}='logits', but model '{model.name}' ends in "
                f"{activation}. Pass {argument}='probabilities', or end the model in "
                "a linear layer."
            )
        if activation == "linear" and kind == "probabilities":
            raise ValueError(
                f"`{argument}` must agree with the model's last activation. "
                f"Received: {argument}='probabilities', but model '{model.name}' ends "
                f"in a linear layer. Pass {argument}='logits'."
            )
        if activation == "sigmoid" and units not in (1, None):
            raise ValueError(
                f"Model '{model.name}' must give one distribution over classes per "
                f"output. Received: {units} sigmoid units (multi-label). Give the "
                "model one output of one unit per label."
            )


def _last_activation(tensor) -> str | None:
    """The name of the activation that gives `tensor`, None where it cannot be told."""
    operation, node_index, tensor_index = tensor._keras_history
    if isinstance(operation, keras.Model):
        inner = keras.tree.flatten(getattr(operation, "outputs", None) or [])
        return _last_activation(inner[tensor_index]) if inner else None
    if isinstance(operation, keras.layers.Softmax):
        return "softmax"
    if isinstance(operation, keras.layers.Reshape | keras.layers.Flatten):
        node = operation._inbound_nodes[node_index]
        return _last_activation(node.input_tensors[0])
    known = (keras.layers.Activation, keras.layers.Dense, keras.layers.EinsumDense)
    if isinstance(operation, known):
        return getattr(operation.activation, "__name__", None)
    return None
