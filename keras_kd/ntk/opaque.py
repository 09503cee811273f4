"""Gradients of a layer that no rule holds for, example by example."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_kd import backend
from keras_kd.ntk.rules.site import Parts, explicit


class OpaqueCall:
    """One call of such a layer: its inputs, and how to run it for one example.

    Args:
        layer: the layer.
        args: of the call.
        kwargs: likewise.
        floating: indices of those of its flattened outputs that have gradients.
    """

    def __init__(
        self,
        layer: keras.layers.Layer,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        floating: list[int],
    ) -> None:
        self.layer = layer
        self.floating = floating
        self._structure: Any = (args, kwargs)
        arguments = keras.tree.flatten(self._structure)
        self.inputs = [leaf for leaf in arguments if ops.is_tensor(leaf)]
        # Tensors belong to the trace that they were made in: not kept here.
        self._static = [None if ops.is_tensor(leaf) else leaf for leaf in arguments]
        self._is_tensor = [ops.is_tensor(leaf) for leaf in arguments]
        self._structure = keras.tree.map_structure(lambda leaf: 0, self._structure)

    def run(self, values: tuple[list[Any], list[Any]], tensors: list[Any]) -> list[Any]:
        """The outputs that have gradients.

        Args:
            values: `(trainable, non_trainable)` values of the layer.
            tensors: like `inputs`.
        """
        given = iter(tensors)
        flat = [
            next(given) if is_tensor else leaf
            for leaf, is_tensor in zip(self._static, self._is_tensor, strict=True)
        ]
        args, kwargs = keras.tree.pack_sequence_as(self._structure, flat)
        outputs, _ = self.layer.stateless_call(*values, *args, **kwargs)
        leaves = keras.tree.flatten(outputs)
        return [leaves[i] for i in self.floating]


def gradients_of(
    layer: keras.layers.Layer,
    run: Callable[[tuple[list[Any], list[Any]], list[Any]], list[Any]],
    places: dict[int, int],
    values: tuple[list[Any], list[Any]],
    inputs: list[Any],
    sliced: list[bool],
    cotangents: list[Any],
) -> Parts:
    """The gradients of one layer's weights, example by example.

    Args:
        layer: or the whole model.
        run: `run((trainable, non_trainable), inputs)`, list of outputs.
        places: `{id(variable): index}` of the weights asked for.
        values: `(trainable, non_trainable)` values of the layer.
        inputs: list of tensors.
        sliced: which of them have an axis of examples; the others are the same for
            all.
        cotangents: list of `(q, m, ...)`, like the outputs.
    """
    trainable, non_trainable = values
    variables = layer.trainable_variables
    chosen = [i for i, v in enumerate(variables) if id(v) in places]

    def run_one(chosen_values: list[Any], examples: list[Any]) -> list[Any]:
        full = list(trainable)
        for i, value in zip(chosen, chosen_values, strict=True):
            full[i] = value
        given = iter(examples)
        tensors = [
            next(given) if is_sliced else x
            for x, is_sliced in zip(inputs, sliced, strict=True)
        ]
        return run((full, non_trainable), tensors)

    found = backend.per_example_gradients(
        run_one,
        [trainable[i] for i in chosen],
        [x for x, is_sliced in zip(inputs, sliced, strict=True) if is_sliced],
        cotangents,
    )
    parts: Parts = []
    for i, gradient in zip(chosen, found, strict=True):
        parts += explicit(places[id(variables[i])], gradient)
    return parts
