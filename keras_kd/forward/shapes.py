"""The shapes that layers give for one example."""

from collections.abc import Iterable
from typing import Any

import keras

from keras_kd.forward.calls import call_without_side_effects
from keras_kd.forward.paths import find_layer
from keras_kd.forward.probe import on_an_example
from keras_kd.forward.taps import tapping


def output_shapes(
    model: keras.Model, paths: Iterable[str], partner: keras.Model | None = None
) -> dict[str, tuple[int, ...]]:
    """The shapes that the layers at `paths` give for one example.

    Found by a forward pass over a single example of zeros, without side effects.

    Args:
        model: a built model.
        paths: as in `find_layer`.
        partner: as in `on_an_example`.

    Returns:
        `{path: shape}`, each shape with a leading 1 for the batch.

    Raises:
        ValueError: a layer gives several tensors, or is not called exactly once.
    """
    layers = {path: find_layer(model, path) for path in paths}

    def run(zeros: Any) -> Any:
        with tapping(layers.values()) as taps:
            call_without_side_effects(model, zeros)
        outputs = {path: taps.output(layer) for path, layer in layers.items()}
        for path, output in outputs.items():
            # An image that was too small for all the poolings.
            if any(0 in tuple(leaf.shape) for leaf in keras.tree.flatten(output)):
                raise ValueError(
                    "A tapped layer must give something for one example. Received: "
                    f"layer '{path}' in model '{model.name}', which gives shape "
                    f"{[tuple(leaf.shape) for leaf in keras.tree.flatten(output)]}"
                )
        return outputs

    outputs = on_an_example(model, run, partner)
    for path, output in outputs.items():
        if keras.tree.is_nested(output):
            raise ValueError(
                "A tapped layer must give one tensor. Received: layer "
                f"'{path}' in model '{model.name}', which gives a structure of "
                f"{len(keras.tree.flatten(output))}."
            )
    return {path: tuple(output.shape) for path, output in outputs.items()}
