"""MLP: two dense layers, a student that knows nothing of images."""

import keras
from keras import layers

from keras_kd.arguments import check_number
from keras_kd.models.arguments import check_image_classifier

_UNITS = 128


def MLP(
    input_shape: tuple[int, int, int] = (32, 32, 3),
    classes: int = 10,
    width: float = 1.0,
    name: str | None = None,
) -> keras.Model:
    """Two dense layers of `128 * width` units with rectifiers, on the pixels in a row.

    A student with a weak inductive bias: that pixels have neighbours it has to learn.

    Args:
        input_shape: `(height, width, channels)`.
        classes: the number of logits.
        width: multiple, > 0, of 128 units, rounded to the nearest integer and at least
            1; 2 gives 256 units in each layer.
        name: the model's name; by default "mlp", "mlpx2", "mlpx0_5", ...

    Returns:
        A functional model from images, float32, to `(batch, classes)` logits. Layers:
        `flatten, fc1, fc2, logits`.

    Raises:
        ValueError: `width` is not positive, or the images or classes make no sense.

    Example:

    ```python
    student = keras_kd.models.MLP(input_shape=(28, 28, 1), classes=10, width=2)
    ```
    """
    input_shape, classes = check_image_classifier("MLP", input_shape, classes)
    width = check_number("width", width, above=0, expected="> 0")
    if name is None:
        # No dots: torch refuses them in names.
        times = f"{width:g}".replace(".", "_")
        name = "mlp" if width == 1 else f"mlpx{times}"
    units = max(1, round(_UNITS * width))

    inputs = keras.Input(input_shape, dtype="float32", name="images")
    x = layers.Flatten(name="flatten")(inputs)
    x = layers.Dense(units, activation="relu", name="fc1")(x)
    x = layers.Dense(units, activation="relu", name="fc2")(x)
    outputs = layers.Dense(classes, name="logits")(x)
    return keras.Model(inputs, outputs, name=name)
