"""The arguments that all models share, checked before anything is built."""

from collections.abc import Sequence

from keras_kd.arguments import is_integer


def check_image_classifier(
    model: str,
    input_shape: Sequence[int],
    classes: int,
    smallest: int = 1,
) -> tuple[tuple[int, int, int], int]:
    """Both as Keras takes them, which refuses NumPy's integers.

    Args:
        model: the model's name, for the message.
        input_shape: `(height, width, channels)`.
        classes: the number of logits.
        smallest: the least height and width that the model takes.

    Returns:
        `input_shape` and `classes`.

    Raises:
        ValueError: `model` does not take such images or classes.
    """
    if (
        not isinstance(input_shape, list | tuple)
        or len(input_shape) != 3
        or not all(is_integer(size, above=0) for size in input_shape)
    ):
        raise ValueError(
            f"`input_shape` of {model} must be (height, width, channels), three "
            f"positive integers. Received: input_shape={input_shape}"
        )
    if min(input_shape[:2]) < smallest:
        raise ValueError(
            f"`input_shape` of {model} must be at least {smallest}x{smallest} pixels. "
            f"Received: input_shape={input_shape}. Enlarge the images, or take "
            "`LeNet5` or `ResNet`, which have no such limit."
        )
    if not is_integer(classes, above=0):
        raise ValueError(
            f"`classes` of {model} must be a positive integer. "
            f"Received: classes={classes}"
        )
    height, width, channels = (int(size) for size in input_shape)
    return (height, width, channels), int(classes)
