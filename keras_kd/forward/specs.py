"""What a model takes and gives for one example: structures and shapes."""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from keras_kd.forward.calls import call_without_side_effects
from keras_kd.forward.paths import find_layer
from keras_kd.forward.taps import tapping
from keras_kd.keras_internals import symbolic_inputs, symbolic_outputs


def input_spec(model: keras.Model) -> Any:
    """The symbolic inputs of a functional or sequential model, else `None`."""
    return symbolic_inputs(model)


def output_spec(model: keras.Model) -> Any:
    """The symbolic outputs of a functional or sequential model, else `None`."""
    return symbolic_outputs(model)


def example_inputs(model: keras.Model, partner: keras.Model | None = None) -> Any:
    """Zeros for one example, in the structure that `model` takes.

    Args:
        model: a built model.
        partner: a model that takes the same inputs, asked when `model` is subclassed
            and does not know the shape of its own.

    Raises:
        ValueError: neither model knows.
    """
    models = [model] if partner is None else [model, partner]
    for known in models:
        if (spec := input_spec(known)) is not None:
            return keras.tree.map_structure(_one_example, spec)
    for known in models:
        shape = (known.get_build_config() or {}).get("input_shape")
        if shape and all(isinstance(d, int) or d is None for d in shape):
            return _one_example(keras.KerasTensor(shape, keras.config.floatx()))
    raise ValueError(
        f"The input shape of model '{model.name}' is not known. Build it on a Keras "
        "`Input`, or call it once on a batch given as its only argument."
    )


def _one_example(spec: keras.KerasTensor) -> Any:
    # An open dimension (image size, sequence length) may be anything: 32 is large
    # enough for the poolings of common networks.
    shape = (1, *(32 if d is None else d for d in spec.shape[1:]))
    return keras.ops.convert_to_tensor(np.zeros(shape, spec.dtype))


def output_shapes(
    model: keras.Model, paths: Iterable[str], partner: keras.Model | None = None
) -> dict[str, tuple[int, ...]]:
    """The shapes that the layers at `paths` give for one example.

    Found by one forward pass over a single example of zeros, without side effects.

    Args:
        model: a built model.
        paths: as in `find_layer`.
        partner: as in `example_inputs`.

    Returns:
        `{path: shape}`, each shape with a leading 1 for the batch.

    Raises:
        ValueError: a layer gives several tensors, or is not called exactly once.
    """
    layers = {path: find_layer(model, path) for path in paths}
    with tapping(layers.values()) as taps:
        call_without_side_effects(model, example_inputs(model, partner))
    outputs = {path: taps.output(layer) for path, layer in layers.items()}
    for path, output in outputs.items():
        if keras.tree.is_nested(output):
            raise ValueError(
                "A tapped layer must give one tensor. Received: layer "
                f"'{path}' in model '{model.name}', which gives a structure of "
                f"{len(keras.tree.flatten(output))}."
            )
    return {path: tuple(output.shape) for path, output in outputs.items()}


def build_on(model: keras.Model, inputs: Any) -> None:
    """Builds a model on another one's symbolic inputs, where they are known."""
    if inputs is not None:
        model(
            keras.tree.map_structure(
                lambda t: keras.KerasTensor(t.shape, t.dtype), inputs
            )
        )
