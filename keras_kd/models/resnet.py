"""The residual networks for CIFAR, ResNet-8 to ResNet-110."""

from typing import Any

import keras
from keras import layers

from keras_kd.arguments import is_integer
from keras_kd.models.arguments import check_image_classifier


def ResNet(
    input_shape: tuple[int, int, int] = (32, 32, 3),
    classes: int = 10,
    depth: int = 20,
    name: str | None = None,
) -> keras.Model:
    """The residual network for CIFAR: `6n + 2` layers in three stages.

    Each stage has `n` blocks of two 3x3 convolutions; the stages have 16, 32 and 64
    filters, and the second and third halve the image. Shortcuts are identities without
    weights (option A): where the shape changes, every second pixel, with zeros for the
    new channels. Trainable parameters for colour images and 10 classes: 75,290 at depth
    8, 269,722 at 20, 464,154 at 32, 658,586 at 44, 853,018 at 56, 1,727,962 at 110; the
    0.27, 0.46, 0.66, 0.85 and 1.7 million of the paper's Table 6.

    Args:
        input_shape: `(height, width, channels)`, of any size.
        classes: the number of logits.
        depth: `6n + 2`: 8, 20, 32, 44, 56, 110, ...
        name: the model's name; by default "resnet20", ...

    Returns:
        A functional model from images, float32, to `(batch, classes)` logits. Layers:
        `conv1, bn1, relu1`; in block `b` of stage `s`, both from 1,
        `stage{s}_block{b}_conv1`, `_bn1`, `_relu1`, `_conv2`, `_bn2`, `_add` and
        `_relu2`; `pool, logits`.

    Raises:
        ValueError: `depth` is not `6n + 2`, or the images or classes make no sense.

    Source: He, Zhang, Ren & Sun, "Deep Residual Learning for Image Recognition", CVPR
    2016, section 4.2.

    Example:

    ```python
    teacher = keras_kd.models.ResNet(input_shape=(28, 28, 1), classes=10, depth=20)
    ```
    """
    input_shape, classes = check_image_classifier("ResNet", input_shape, classes)
    if not is_integer(depth, at_least=8) or (depth - 2) % 6:
        raise ValueError(
            "`depth` must be 6n + 2, such as 8, 20, 32, 44, 56 or 110. "
            f"Received: depth={depth}"
        )
    blocks = (depth - 2) // 6
    inputs = keras.Input(input_shape, dtype="float32", name="images")
    x = _convolution(inputs, 16, 1, "conv1")
    x = _normalization(x, "bn1")
    x = layers.ReLU(name="relu1")(x)
    for stage, filters in enumerate((16, 32, 64), start=1):
        for block in range(1, blocks + 1):
            strides = 2 if stage > 1 and block == 1 else 1
            x = _block(x, filters, strides, f"stage{stage}_block{block}")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    outputs = layers.Dense(classes, kernel_initializer="he_normal", name="logits")(x)
    return keras.Model(inputs, outputs, name=name or f"resnet{depth}")


def _block(x: Any, filters: int, strides: int, name: str) -> Any:
    shortcut = x
    if strides > 1:
        shortcut = _smaller_identity(x, filters, strides, name)
    x = _convolution(x, filters, strides, f"{name}_conv1")
    x = _normalization(x, f"{name}_bn1")
    x = layers.ReLU(name=f"{name}_relu1")(x)
    x = _convolution(x, filters, 1, f"{name}_conv2")
    x = _normalization(x, f"{name}_bn2")
    x = layers.Add(name=f"{name}_add")([x, shortcut])
    return layers.ReLU(name=f"{name}_relu2")(x)


def _smaller_identity(x: Any, filters: int, strides: int, name: str) -> Any:
    x = layers.AveragePooling2D(1, strides, name=f"{name}_subsample")(x)
    # Read as "channels first", the last axis is a width: so Keras's own padding layer
    # appends channels, and the saved model needs no code of ours.
    return layers.ZeroPadding2D(
        ((0, 0), (0, filters - x.shape[-1])),
        data_format="channels_first",
        name=f"{name}_widen",
    )(x)


def _convolution(x: Any, filters: int, strides: int, name: str) -> Any:
    padding = "same"
    if strides > 1:
        # Keras's "same" would centre the windows on odd pixels and the shortcut on
        # even ones.
        x = layers.ZeroPadding2D(1, name=f"{name}_pad")(x)
        padding = "valid"
    return layers.Conv2D(
        filters,
        3,
        strides,
        padding,
        use_bias=False,
        kernel_initializer="he_normal",
        name=name,
    )(x)


def _normalization(x: Any, name: str) -> Any:
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)(x)
