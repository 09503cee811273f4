"""ResNet-101 for ImageNet, randomly initialised."""

import keras

from keras_kd.models.applications import from_applications
from keras_kd.models.arguments import check_image_classifier


def ResNet101(
    input_shape: tuple[int, int, int] = (64, 64, 3),
    classes: int = 10,
    name: str = "resnet101",
) -> keras.Model:
    """ResNet-101 with bottleneck blocks, randomly initialised.

    `keras.applications.ResNet101` with logits: 44,707,176 parameters, of them
    44,601,832 trainable, for 1,000 classes. This is the network for ImageNet; those
    for CIFAR are `ResNet`.

    Args:
        input_shape: `(height, width, channels)`, at least 32x32 pixels.
        classes: the number of logits.
        name: the model's name.

    Returns:
        A functional model from images, float32, to `(batch, classes)` logits. Layers
        are named as in Keras: `conv1_conv`, ..., `conv5_block3_out`, `avg_pool`; the
        logits are the layer `predictions`.

    Raises:
        ValueError: the images are below 32x32, or images or classes make no sense.

    Source: He, Zhang, Ren & Sun, CVPR 2016, Table 1.

    Example:

    ```python
    teacher = keras_kd.models.ResNet101(input_shape=(64, 64, 3), classes=200)
    ```
    """
    input_shape, classes = check_image_classifier(
        "ResNet101", input_shape, classes, smallest=32
    )
    return from_applications(keras.applications.ResNet101, input_shape, classes, name)
