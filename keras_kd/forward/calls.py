"""A model called as a function: nothing of it changes."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_kd.keras_internals import takes_training


def call_without_side_effects(
    model: keras.layers.Layer,
    inputs: Any,
    trainable_values: Sequence[Any] | None = None,
    non_trainable_values: Sequence[Any] | None = None,
) -> Any:
    """`model(inputs, training=False)` that changes none of the model's state.

    Batch statistics, seed generators, metrics and collected losses stay as they are.

    Args:
        model: a built model.
        inputs: what `model` takes.
        trainable_values: values instead of those in `model.trainable_variables`.
        non_trainable_values: likewise for `model.non_trainable_variables`.
    """
    if trainable_values is None:
        trainable_values = [v.value for v in model.trainable_variables]
    if non_trainable_values is None:
        non_trainable_values = [v.value for v in model.non_trainable_variables]
    kwargs = {"training": False} if takes_training(model) else {}
    outputs, _ = model.stateless_call(
        trainable_values, non_trainable_values, inputs, **kwargs
    )
    return outputs
