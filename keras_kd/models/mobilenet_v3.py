"""MobileNetV3-Large of any width, randomly initialised."""

import re
from collections import Counter
from typing import Any

import keras

from keras_kd.arguments import check_number
from keras_kd.models.applications import from_applications
from keras_kd.models.arguments import check_image_classifier


def MobileNetV3(
    input_shape: tuple[int, int, int] = (64, 64, 3),
    classes: int = 10,
    alpha: float = 1.0,
    name: str | None = None,
) -> keras.Model:
    """MobileNetV3-Large with `alpha` times the filters, randomly initialised.

    `keras.applications.MobileNetV3Large` with logits and without its rescaling of
    pixels: 5,507,432 parameters, of them 5,483,032 trainable, for 1,000 classes at
    `alpha=1`. Filters are rounded to multiples of 8.

    Args:
        input_shape: `(height, width, channels)`, at least 32x32 pixels.
        classes: the number of logits.
        alpha: the width multiplier, > 0, such as 0.35 or 1.25.
        name: the model's name; by default "mobilenet_v3", "mobilenet_v3_0_35", ...

    Returns:
        A functional model from images, float32, to `(batch, classes)` logits. Layers
        are named as in Keras (`conv`, ..., `expanded_conv_14_add`, `conv_2`, `logits`);
        the layers that Keras numbers are numbered from the start of this model.

    Raises:
        ValueError: the images are below 32x32, `alpha` is not positive, or images or
            classes make no sense.

    Source: Howard et al., "Searching for MobileNetV3", ICCV 2019.

    Example:

    ```python
    student = keras_kd.models.MobileNetV3((64, 64, 3), classes=200, alpha=0.35)
    ```
    """
    input_shape, classes = check_image_classifier(
        "MobileNetV3", input_shape, classes, smallest=32
    )
    alpha = check_number("alpha", alpha, above=0, expected="> 0")
    if name is None:
        times = f"{alpha:g}".replace(".", "_")
        name = "mobilenet_v3" if alpha == 1 else f"mobilenet_v3_{times}"
    model = from_applications(
        keras.applications.MobileNetV3Large,
        input_shape,
        classes,
        name,
        alpha=alpha,
        include_preprocessing=False,
    )
    return _numbered_from_the_start(model)


def _numbered_from_the_start(model: keras.Model) -> keras.Model:
    # Keras numbers activations and sums through the whole process: the second model
    # built would name them otherwise, and taps and configurations would not match.
    seen: Counter[str] = Counter()
    names = {}
    for operation in model.operations:
        stem = re.sub(r"_\d+$", "", operation.name)
        if stem.replace("_", "") == type(operation).__name__.lower():
            names[operation.name] = f"{stem}_{seen[stem]}" if seen[stem] else stem
            seen[stem] += 1

    def rename(config: Any) -> Any:
        if isinstance(config, dict):
            return {key: rename(value) for key, value in config.items()}
        if isinstance(config, list | tuple):
            return type(config)(rename(value) for value in config)
        return names.get(config, config) if isinstance(config, str) else config

    return type(model).from_config(rename(model.get_config()))
