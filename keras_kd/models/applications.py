"""The networks of `keras.applications`, randomly initialised, giving logits."""

from collections.abc import Callable
from typing import Any

import keras


def from_applications(
    network: Callable[..., keras.Model],
    input_shape: tuple[int, int, int],
    classes: int,
    name: str,
    **kwargs: Any,
) -> keras.Model:
    """A network with random weights, from float32 images to logits.

    Args:
        network: a function of `keras.applications`.
        input_shape: `(height, width, channels)`.
        classes: the number of logits.
        name: the model's name.
        **kwargs: further arguments of `network`.
    """
    images = keras.Input(input_shape, dtype="float32", name="images")
    model = network(
        weights=None,
        input_tensor=images,
        input_shape=input_shape,
        classes=classes,
        classifier_activation=None,
        **kwargs,
    )
    # Keras's own takes a list of inputs, and warns of every tensor.
    return keras.Model(images, model.output, name=name)
