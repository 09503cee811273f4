"""Image classifiers: functional models that take `(height, width, channels)` images
in [0, 1] and give logits."""

from keras_kd.models.convnet import ConvNet
from keras_kd.models.lenet import LeNet5
from keras_kd.models.mlp import MLP
from keras_kd.models.mobilenet_v3 import MobileNetV3
from keras_kd.models.resnet import ResNet
from keras_kd.models.resnet101 import ResNet101
from keras_kd.models.vgg import VGG16

__all__ = [
    "MLP",
    "VGG16",
    "ConvNet",
    "LeNet5",
    "MobileNetV3",
    "ResNet",
    "ResNet101",
]
