"""An uncompiled copy of a model, through which weights travel to and from files."""

import random
from collections.abc import Iterator

import keras

from keras_kd.keras_internals import flatten_layers, keras_reason
from keras_kd.teachers.trajectory.architecture import (
    first_difference,
    model_config,
    variable_specs,
)


def bare_copy(model: keras.Model) -> keras.Model:
    """A copy of `model` with the same variables and nothing else.

    Weight files go through it, and not through the model itself, because Keras writes
    a compiled model's optimizer into them and because a file that turns out to be
    broken must not leave the model half loaded.

    Args:
        model: a built model.

    Returns:
        An uncompiled model in host memory, with weights of its own, in the same order.

    Raises:
        ValueError: the model cannot be rebuilt from its config.
    """
    # Keras draws the seeds of new layers from here; what the model draws next must
    # not depend on the copy.
    state = random.getstate()
    try:
        classes = {type(layer).__name__: type(layer) for layer in _own_layers(model)}
        with keras.device("cpu"):
            copy = keras.saving.deserialize_keras_object(
                model_config(model), custom_objects=classes, safe_mode=False
            )
        difference = first_difference(variable_specs(model), variable_specs(copy))
    except Exception as error:
        raise ValueError(_message(model, keras_reason(error))) from error
    finally:
        random.setstate(state)
    if difference:
        raise ValueError(_message(model, f"in the copy, {difference}"))
    return copy


def _own_layers(model: keras.Model) -> Iterator[keras.Layer]:
    """The layers of classes that are not Keras's, which need not be registered."""
    for layer in flatten_layers(model):
        if not type(layer).__module__.startswith("keras."):
            yield layer


def _message(model: keras.Model, reason: str) -> str:
    return (
        f"Model '{model.name}' cannot be rebuilt from its config, so its trajectory "
        f"can be neither recorded nor loaded: {reason}. Give the model a `get_config` "
        "that returns all arguments of its constructor."
    )
