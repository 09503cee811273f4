"""LeNet-5 of any width ("LeNet-5xk"), a small student."""

import keras
from keras import layers

from keras_kd.arguments import check_number
from keras_kd.models.arguments import check_image_classifier

_SIZE = 32


def LeNet5(
    input_shape: tuple[int, int, int] = (32, 32, 3),
    classes: int = 10,
    width: float = 1.0,
    name: str | None = None,
) -> keras.Model:
    """LeNet-5 with `width` times the filters ("LeNet-5xk").

    What scales are the two convolutions: they have `6 * width` and `16 * width` filters
    of 5x5, rounded to the nearest integer and at least 1. The dense layers keep their
    120 and 84 units at every width. As is customary now, and unlike in 1998, the
    activations are rectifiers, pooling takes the maximum and has no weights, and the
    second convolution sees all maps of the first. With 10 classes there are 61,706
    parameters at `width=1` for gray images of up to 32x32, and 552,510 at `width=8` for
    colour images.

    Images below 32x32 are surrounded by zeros up to 32x32, as in 1998.

    Args:
        input_shape: `(height, width, channels)`.
        classes: the number of logits.
        width: `k > 0`; 8 gives LeNet-5x8, values below 1 give thinner networks.
        name: the model's name; by default "lenet5", "lenet5x8", "lenet5x0_5", ...

    Returns:
        A functional model from images, float32, to `(batch, classes)` logits. Layers:
        `conv1, pool1, conv2, pool2, flatten, fc1, fc2, logits`.

    Raises:
        ValueError: `width` is not positive, or the images or classes make no sense.

    Source: LeCun, Bottou, Bengio & Haffner, Proceedings of the IEEE 1998, section II.B;
    LeNet-5x8, with 8 times the filters, is a student of Harutyunyan et al., ICLR 2023.

    Example:

    ```python
    student = keras_kd.models.LeNet5(input_shape=(28, 28, 1), classes=10, width=8)
    ```
    """
    input_shape, classes = check_image_classifier("LeNet5", input_shape, classes)
    width = check_number("width", width, above=0, expected="> 0")
    if name is None:
        # No dots: torch refuses them in names.
        times = f"{width:g}".replace(".", "_")
        name = "lenet5" if width == 1 else f"lenet5x{times}"

    def filters(base: int) -> int:
        return max(1, round(base * width))

    inputs = keras.Input(input_shape, dtype="float32", name="images")
    x = inputs
    missing = [max(0, _SIZE - size) for size in input_shape[:2]]
    if any(missing):
        sides = tuple((m // 2, m - m // 2) for m in missing)
        x = layers.ZeroPadding2D(sides, name="pad")(x)
    x = layers.Conv2D(filters(6), 5, activation="relu", name="conv1")(x)
    x = layers.MaxPooling2D(2, name="pool1")(x)
    x = layers.Conv2D(filters(16), 5, activation="relu", name="conv2")(x)
    x = layers.MaxPooling2D(2, name="pool2")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(120, activation="relu", name="fc1")(x)
    x = layers.Dense(84, activation="relu", name="fc2")(x)
    outputs = layers.Dense(classes, name="logits")(x)
    return keras.Model(inputs, outputs, name=name)
