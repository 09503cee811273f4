"""A teacher that costs less to run, and how far it agrees with the full one."""

import json
import warnings
from typing import Any, Literal, NamedTuple

import keras
import numpy as np

from keras_kd.forward import call_without_side_effects
from keras_kd.keras_internals import keras_reason
from keras_kd.outputs.form import to_logits

PRECISIONS = ("bfloat16", "int8")


class Agreement(NamedTuple):
    """How far two teachers agree on some examples.

    Attributes:
        top1: share of the examples on which they put the same class first, in [0, 1].
        divergence: mean Kullback-Leibler divergence from the first to the second, in
            nats.
        examples: how many they were.
    """

    top1: float
    divergence: float
    examples: int


def cheaper(teacher: keras.Model, precision: Literal["bfloat16", "int8"]):
    """A copy of a teacher that computes in less precision.

    Args:
        teacher: a built model.
        precision: `"bfloat16"` computes in bfloat16, with the weights in float32 as
            they are; `"int8"` is Keras's quantisation of the layers that have one
            (dense layers and embeddings).

    Returns:
        A new model; the teacher is as it was.

    Raises:
        ValueError: another precision, a model that cannot be built from its config, or
            one without layers that can be quantised.
    """
    if precision not in PRECISIONS:
        raise ValueError(
            f"`teacher_precision` must be None or one of {list(PRECISIONS)}. Received: "
            f"teacher_precision={precision!r}"
        )
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(teacher)))
    config.pop("compile_config", None)
    if precision == "bfloat16":
        config = _with_policy(config, "mixed_bfloat16")
    try:
        copy = keras.saving.deserialize_keras_object(config)
        copy.set_weights(teacher.get_weights())
    except Exception as error:
        raise ValueError(
            f"`teacher_precision='{precision}'` needs a teacher that can be built from "
            f"its config. Received: model '{teacher.name}': {keras_reason(error)}"
        ) from error
    if precision == "int8":
        with warnings.catch_warnings():
            # Of each layer that stays as it is.
            warnings.filterwarnings("ignore", "Layer .* does not have a `quantize`")
            copy.quantize("int8")
        if not any(
            getattr(layer, "quantization_mode", None)
            for layer in copy._flatten_layers()
        ):
            raise ValueError(
                "`teacher_precision='int8'` needs layers that Keras can quantise. "
                f"Received: model '{teacher.name}', which has none."
            )
    return copy


def _with_policy(node, name: str) -> Any:
    """A config in which every dtype policy is `name`."""
    if isinstance(node, dict):
        if node.get("class_name") == "DTypePolicy":
            return {**node, "config": {**node["config"], "name": name}}
        return {key: _with_policy(value, name) for key, value in node.items()}
    if isinstance(node, list):
        return [_with_policy(value, name) for value in node]
    return node


def first_batch(x, size: int = 128) -> Any:
    """Inputs from the beginning of what `fit` is given, `None` where looking takes."""
    leaves = keras.tree.flatten(x)
    if all(hasattr(leaf, "__array__") and hasattr(leaf, "shape") for leaf in leaves):
        return keras.tree.map_structure(lambda leaf: leaf[:size], x)
    if isinstance(x, keras.utils.PyDataset):
        batch = x[0]
    elif hasattr(x, "__iter__") and not hasattr(x, "__next__"):
        batch = next(iter(x))
    else:
        return None
    return keras.utils.unpack_x_y_sample_weight(batch)[0]


def agreement(teacher, other, inputs, outputs: str = "logits") -> Agreement:
    """How far two models agree on a batch.

    Args:
        teacher: a built model.
        other: another one, of the same inputs and outputs.
        inputs: a batch of what they take.
        outputs: `"logits"` or `"probabilities"`: what they give.
    """
    found = []
    for model in (teacher, other):
        logits = to_logits(call_without_side_effects(model, inputs), outputs)
        found.append(
            [
                np.asarray(keras.ops.convert_to_numpy(leaf), np.float64)
                for leaf in keras.tree.flatten(logits)
            ]
        )
    same, divergences = [], []
    for a, b in zip(*found, strict=True):
        if a.shape[-1] == 1:
            # Bernoulli's two classes.
            a, b = (np.concatenate([np.zeros_like(z), z], axis=-1) for z in (a, b))
        same.append(np.mean(a.argmax(-1) == b.argmax(-1)))
        p, q = (z - np.logaddexp.reduce(z, axis=-1, keepdims=True) for z in (a, b))
        divergences.append(np.mean(np.sum(np.exp(p) * (p - q), axis=-1)))
    return Agreement(
        float(np.mean(same)), float(np.mean(divergences)), len(found[0][0])
    )
