"""ConvNet: three small convolutions, a teacher that is cheap on small images."""

import keras
from keras import layers

from keras_kd.arguments import check_number
from keras_kd.models.arguments import check_image_classifier


def ConvNet(
    input_shape: tuple[int, int, int] = (32, 32, 3),
    classes: int = 10,
    width: float = 1.0,
    name: str | None = None,
) -> keras.Model:
    """Three convolutions of 3x3, two poolings and a dense layer, without normalisation.

    The convolutions have `32 * width`, `32 * width` and `64 * width` filters and keep
    the size of the image; after the second and the third the largest of 2x2 values is
    taken. The dense layer has 128 units at every width; all activations are rectifiers.

    Args:
        input_shape: `(height, width, channels)`, at least 4x4.
        classes: the number of logits.
        width: multiple, > 0, of the filters, which are rounded to the nearest integer
            and at least 1.
        name: the model's name; by default "convnet", "convnetx2", "convnetx0_5", ...

    Returns:
        A functional model from images, float32, to `(batch, classes)` logits. Layers:
        `conv1, conv2, pool2, conv3, pool3, flatten, fc1, logits`.

    Raises:
        ValueError: `width` is not positive, or the images or classes make no sense.

    Example:

    ```python
    teacher = keras_kd.models.ConvNet(input_shape=(12, 12, 1), classes=55)
    ```
    """
    input_shape, classes = check_image_classifier(
        "ConvNet", input_shape, classes, smallest=4
    )
    width = check_number("width", width, above=0, expected="> 0")
    if name is None:
        # No dots: torch refuses them in names.
        times = f"{width:g}".replace(".", "_")
        name = "convnet" if width == 1 else f"convnetx{times}"

    def convolution(filters: int, name: str) -> layers.Layer:
        filters = max(1, round(filters * width))
        return layers.Conv2D(filters, 3, padding="same", activation="relu", name=name)

    inputs = keras.Input(input_shape, dtype="float32", name="images")
    x = convolution(32, "conv1")(inputs)
    x = convolution(32, "conv2")(x)
    x = layers.MaxPooling2D(2, name="pool2")(x)
    x = convolution(64, "conv3")(x)
    x = layers.MaxPooling2D(2, name="pool3")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(128, activation="relu", name="fc1")(x)
    outputs = layers.Dense(classes, name="logits")(x)
    return keras.Model(inputs, outputs, name=name)
