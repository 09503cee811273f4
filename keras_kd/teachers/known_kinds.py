"""What is known of a model's outputs while it trains, to be written down with it."""

import keras

from keras_kd.forward import output_spec
from keras_kd.outputs import inferred_kinds, name_of, output_names


def kinds_of_model(model: keras.Model) -> list[str | None]:
    """The names of its outputs' kinds, `None` for each of which nothing is known.

    Returns:
        An empty list for a model whose outputs are not known yet.
    """
    outputs = output_spec(model)
    loss = getattr(model, "loss", None)
    if outputs is None:
        if loss is None or keras.tree.is_nested(loss):
            return []
        names = ["output"]
    else:
        names = output_names(model, outputs)
    return [name_of(kind) for kind in inferred_kinds(names, [model], [loss])]
