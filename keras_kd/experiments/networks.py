"""The networks of the studies by the names that the command line gives them."""

from collections.abc import Callable
from functools import partial

import keras

from keras_kd import models
from keras_kd.arguments import check_choice, check_integer
from keras_kd.experiments.names import WIDTHS

NETWORKS: dict[str, Callable[..., keras.Model]] = {
    "mlp": models.MLP,
    "convnet": models.ConvNet,
    "lenet5": models.LeNet5,
    **{f"resnet{d}": partial(models.ResNet, depth=d) for d in (8, 20, 32, 44, 56, 110)},
    "resnet101": models.ResNet101,
    "vgg16": models.VGG16,
    "mobilenet_v3": models.MobileNetV3,
}


def build(
    network: str,
    input_shape: tuple[int, ...],
    classes: int,
    *,
    seed: int,
    width: float | None = None,
) -> keras.Model:
    """A fresh network with weights that depend on `seed` alone.

    Args:
        network: a name in `NETWORKS`.
        input_shape: `(height, width, channels)`.
        classes: number of logits.
        seed: of the initial weights.
        width: multiple of the filters or units, for those in `WIDTHS`.

    Raises:
        ValueError: an unknown name, or a width for a network that has none.
    """
    check_choice("network", network, NETWORKS)
    if width is not None and network not in WIDTHS:
        raise ValueError(
            f"`width` is for {list(WIDTHS)}. Received: width={width} for {network}"
        )
    kwargs = {} if width is None else {WIDTHS[network]: width}
    seed = check_integer("seed", seed, at_least=0, below=2**32)
    keras.utils.set_random_seed(seed)
    return NETWORKS[network](input_shape=input_shape, classes=classes, **kwargs)
