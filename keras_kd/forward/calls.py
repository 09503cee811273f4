"""A model called as a function: nothing of it changes."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_kd.keras_internals import symbolic_inputs, takes_training


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

    Raises:
        ValueError: the inputs are of another size than `model` was made for.
    """
    check_input_shapes(model, inputs)
    if trainable_values is None:
        trainable_values = [v.value for v in model.trainable_variables]
    if non_trainable_values is None:
        non_trainable_values = [v.value for v in model.non_trainable_variables]
    kwargs = {"training": False} if takes_training(model) else {}
    outputs, _ = model.stateless_call(
        trainable_values, non_trainable_values, inputs, **kwargs
    )
    return outputs


def check_input_shapes(model: keras.layers.Layer, inputs: Any) -> None:
    """Refuses inputs of another size than a model was made for.

    `stateless_call` does not look, and a convolutional network would run, and predict
    something else.

    Args:
        model: of subclassed models no size is known.
        inputs: what it is to be called on.

    Raises:
        ValueError: names both shapes, and the way out.
    """
    made_for = symbolic_inputs(model) if isinstance(model, keras.Model) else None
    if made_for is None:
        return
    for expected, given in _pairs(made_for, inputs):
        shape = tuple(getattr(given, "shape", ()))
        # Keras itself takes a Sequential for one of any size: that is ordinary for
        # sequences, which end where they end.
        if isinstance(model, keras.Sequential) and len(shape) < 4:
            continue
        # Keras adds or leaves out an axis of length 1.
        # A Sequential that was built by a call is made for no size.
        open_batch = expected.shape[:1] == (None,)
        if (
            open_batch
            and len(shape) == len(expected.shape)
            and any(
                None not in (a, b) and a != b
                for a, b in zip(expected.shape[1:], shape[1:], strict=True)
            )
        ):
            raise ValueError(
                f"Model '{model.name}' must be called on inputs of the size that it "
                f"was made for, {tuple(expected.shape)}. Received: inputs of shape "
                f"{shape}. Put `keras.layers.Resizing` before it: "
                "`keras.Sequential([keras.layers.Resizing(height, width), model])`, "
                "built on the size of the data; or make it anew on `keras.Input` of "
                "that size."
            )


def _pairs(made_for: Any, inputs: Any) -> list[tuple[Any, Any]]:
    if isinstance(made_for, Mapping):
        if not isinstance(inputs, Mapping):
            return []
        return [(made_for[name], inputs[name]) for name in made_for if name in inputs]
    expected, given = keras.tree.flatten(made_for), keras.tree.flatten(inputs)
    same = not isinstance(inputs, Mapping) and len(expected) == len(given)
    return list(zip(expected, given, strict=True)) if same else []
