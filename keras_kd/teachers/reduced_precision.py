"""A teacher that costs less to run, and how far it agrees with the full one."""

import json
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import keras
import numpy as np

from keras_kd.arguments import check_choice
from keras_kd.forward import call_without_side_effects, view_of
from keras_kd.keras_internals import flatten_layers, keras_reason
from keras_kd.outputs import Kind, kind_of_classes, output_names, to_logits
from keras_kd.teachers.live import LiveTeacher

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


def cheaper(
    teacher: keras.Model, precision: Literal["bfloat16", "int8"]
) -> keras.Model:
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
    check_choice(
        "teacher_precision",
        precision,
        PRECISIONS,
        expected=f"None or one of {list(PRECISIONS)}",
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
            getattr(layer, "quantization_mode", None) for layer in flatten_layers(copy)
        ):
            raise ValueError(
                "`teacher_precision='int8'` needs layers that Keras can quantise. "
                f"Received: model '{teacher.name}', which has none."
            )
    return copy


def _with_policy(node: Any, name: str) -> Any:
    """A config in which every dtype policy is `name`."""
    if isinstance(node, dict):
        if node.get("class_name") == "DTypePolicy":
            return {**node, "config": {**node["config"], "name": name}}
        return {key: _with_policy(value, name) for key, value in node.items()}
    if isinstance(node, list):
        return [_with_policy(value, name) for value in node]
    return node


class CheaperTeacher(LiveTeacher):
    """A live teacher that runs in less precision, and tells once how far it agrees.

    Args:
        model: what `cheaper` gave.
        form: `"logits"` or `"probabilities"`, what it gives.
        layers: of it, to tap, by path.
        full: the teacher that it is a copy of.
        kinds: of its outputs, as far as they are declared.
    """

    def __init__(
        self,
        model: keras.Model,
        form: str,
        layers: Mapping[str, keras.layers.Layer],
        full: keras.Model,
        kinds: Sequence[Kind | None] = (),
    ):
        super().__init__(model, form, layers)
        self._full_loss = getattr(full, "loss", None)
        self._kinds = kinds
        self._full: keras.Model | None = full
        self.agreement: Agreement | None = None
        """How far it agrees with the full teacher, once `fit` has begun."""

    def _loss(self) -> Any:
        return self._full_loss

    def prepare_fit(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Says, the first time, how far the two teachers agree on the first batch."""
        inputs = None if self._full is None else first_batch(arguments["x"])
        inputs = view_of(inputs, "teacher", self.model)
        if self._full is not None and inputs is not None:
            found = agreement(self._full, self.model, inputs, self.form, self._kinds)
            # Only now, and once: a trajectory may change the teacher.
            self.agreement, self._full = found, None
            if arguments["verbose"] != 0:
                print(
                    "The cheaper teacher agrees with the full one on "
                    f"{found.top1:.1%} of {found.examples} examples; divergence "
                    f"{found.divergence:.2g} nats."
                )
        return super().prepare_fit(arguments)


def first_batch(x: Any, size: int = 128) -> Any:
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


def agreement(
    teacher: keras.Model,
    other: keras.Model,
    inputs: Any,
    form: str = "logits",
    declared: Sequence[Kind | None] = (),
) -> Agreement:
    """How far two models agree on a batch.

    Args:
        teacher: a built model.
        other: another one, of the same inputs and outputs.
        inputs: a batch of what they take.
        form: `"logits"` or `"probabilities"`: what they give.
        declared: kinds of the outputs, where more is known than the models tell.
    """
    found = []
    kinds: list[Kind] = []
    for model in (teacher, other):
        outputs = call_without_side_effects(model, inputs)
        if not kinds:
            known = LiveTeacher(model, form, {}).output_kinds(
                output_names(model, outputs)
            )
            leaves = keras.tree.flatten(outputs)
            kinds = [
                said or kind or kind_of_classes(leaf.shape[-1])
                for said, kind, leaf in zip(
                    declared or [None] * len(leaves), known, leaves, strict=True
                )
            ]
        found.append(
            [
                np.asarray(keras.ops.convert_to_numpy(leaf), np.float64)
                for leaf in keras.tree.flatten(to_logits(outputs, form, kinds))
            ]
        )
    same, divergences = [], []
    for a, b, kind in zip(*found, kinds, strict=True):
        if kind.DECIDES:
            same.append(np.mean(kind.agreement(a, b), dtype=np.float64))
        divergences.append(np.mean(kind.divergence(a, b)))
    return Agreement(
        float(np.mean(same)) if same else float("nan"),
        float(np.mean(divergences)),
        len(found[0][0]),
    )
