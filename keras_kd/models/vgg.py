"""VGG-16, randomly initialised."""

import keras

from keras_kd.models.applications import from_applications
from keras_kd.models.arguments import check_image_classifier


def VGG16(
    input_shape: tuple[int, int, int] = (64, 64, 3),
    classes: int = 10,
    name: str = "vgg16",
) -> keras.Model:
    """VGG-16 with its three dense layers, randomly initialised.

    `keras.applications.VGG16` with logits: 138,357,544 parameters for 1,000 classes of
    224x224 images, 40,708,104 for 200 classes of 64x64 images.

    Args:
        input_shape: `(height, width, channels)`, at least 32x32 pixels.
        classes: the number of logits.
        name: the model's name.

    Returns:
        A functional model from images, float32, to `(batch, classes)` logits. Layers
        are named as in Keras: `block1_conv1`, ..., `block5_pool`, `fc1`, `fc2`; the
        logits are the layer `predictions`.

    Raises:
        ValueError: the images are below 32x32, or images or classes make no sense.

    Source: Simonyan & Zisserman, ICLR 2015, configuration D.

    Example:

    ```python
    teacher = keras_kd.models.VGG16(input_shape=(64, 64, 3), classes=200)
    ```
    """
    input_shape, classes = check_image_classifier(
        "VGG16", input_shape, classes, smallest=32
    )
    return from_applications(keras.applications.VGG16, input_shape, classes, name)
