"""What a model takes and gives: symbolic tensors, where they are known."""

from typing import Any

import keras

from keras_kd.keras_internals import symbolic_inputs, symbolic_outputs


def input_spec(model: keras.Model) -> Any:
    """The symbolic inputs of a functional or sequential model, else `None`."""
    return symbolic_inputs(model)


def output_spec(model: keras.Model) -> Any:
    """The symbolic outputs of a functional or sequential model, else `None`."""
    return symbolic_outputs(model)


def build_on(model: keras.Model, inputs: Any) -> None:
    """Builds a model on another one's symbolic inputs, where they are known."""
    if inputs is not None:
        model(
            keras.tree.map_structure(
                lambda t: keras.KerasTensor(t.shape, t.dtype), inputs
            )
        )
