"""Whether a teacher says the same of the same inputs."""

import keras

from keras_kd.keras_internals import flatten_layers


def check_no_memory(model: keras.Model) -> None:
    """Refuses recurrent layers that go on from batch to batch: a teacher stands still.

    It is run without side effects, so that their state would never advance, and each
    batch would follow on the same one.

    Args:
        model: the teacher.

    Raises:
        ValueError: names the first such layer.
    """
    for layer in flatten_layers(model):
        if getattr(layer, "stateful", False) is True:
            raise ValueError(
                "`teacher` must have no layer that goes on from one batch to the next: "
                "it runs without side effects, and the state of such a layer would "
                f"never advance. Received: layer '{layer.name}' with stateful=True in "
                f"teacher '{model.name}'. Make the model anew with stateful=False and "
                "give it the weights (`set_weights`); each sequence then begins afresh."
            )
