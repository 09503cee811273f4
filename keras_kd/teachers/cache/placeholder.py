"""A model in the place of a teacher whose predictions are held in files."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_kd.teachers.cache.manifest import Spec
from keras_kd.teachers.cache.structure import from_json


class _Given(keras.layers.Layer):
    """A layer that gives a known shape, as zeros."""

    def __init__(self, shape: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.shape = tuple(shape)

    def call(self, tensors: Any) -> Any:
        return ops.zeros((ops.shape(tensors[0])[0], *self.shape), "float32")

    def compute_output_spec(self, tensors: Any) -> keras.KerasTensor:
        return keras.KerasTensor((tensors[0].shape[0], *self.shape), "float32")


def placeholder_for(spec: Spec, name: str) -> keras.Model:
    """A model without weights that takes and gives the shapes that a teacher does.

    Losses look at a teacher before training: whether it has the layer that they tap,
    and what shape that gives.

    Args:
        spec: what the teacher takes and gives.
        name: the teacher's.
    """
    inputs = from_json(
        spec.inputs,
        lambda leaf: keras.Input(tuple(leaf["shape"]), dtype=leaf["dtype"]),
    )
    leaves = keras.tree.flatten(inputs)
    tree: dict[str, Any] = {}
    for path, shape in spec.taps.items():
        *outer, last = path.split("/")
        node = tree
        for part in outer:
            node = node.setdefault(part, {})
        node[last] = shape
    # The outputs must come after all inputs and tapped layers, or Keras refuses the
    # first and leaves out the others.
    tensors = [*leaves, *_layers(tree, leaves[0])]
    outputs = from_json(
        spec.outputs, lambda position: _Given(spec.logits[position])(tensors)
    )
    return keras.Model(inputs, outputs, name=name)


def _layers(tree: dict[str, Any], tensor: Any) -> list[Any]:
    outputs: list[Any] = []
    for name, node in tree.items():
        if isinstance(node, dict):
            inner = keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype)
            model = keras.Model(inner, _layers(node, inner), name=name)
            outputs.extend(keras.tree.flatten(model(tensor)))
        else:
            outputs.append(_Given(node, name=name)([tensor]))
    return outputs
