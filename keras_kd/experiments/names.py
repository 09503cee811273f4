"""By what names networks, ways to train and demos are asked for.

Apart from what they name, so that the command line knows them without Keras.
"""

from typing import Literal, get_args

Network = Literal[
    "mlp",
    "convnet",
    "lenet5",
    "resnet8",
    "resnet20",
    "resnet32",
    "resnet44",
    "resnet56",
    "resnet110",
    "resnet101",
    "vgg16",
    "mobilenet_v3",
]
NETWORK_NAMES: tuple[Network, ...] = get_args(Network)

# What those that have a width call it.
WIDTHS = {
    "mlp": "width",
    "convnet": "width",
    "lenet5": "width",
    "mobilenet_v3": "alpha",
}

Mode = Literal["none", "offline", "online", "together"]
MODES: tuple[Mode, ...] = get_args(Mode)

DemoName = Literal["digits_overlay", "fashion_mnist"]
