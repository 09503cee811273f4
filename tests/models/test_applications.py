import keras
import numpy as np
import pytest

from keras_kd.models import VGG16, LeNet5, MobileNetV3, ResNet, ResNet101


def trainable_parameters(model):
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables)


# Trainable parameters for 1,000 classes, as published with torchvision's weights.
PUBLISHED = {
    "VGG16": 138_357_544,
    "ResNet101": 44_549_160,
    "MobileNetV3-Large": 5_483_032,
}


@pytest.mark.one_backend
def test_vgg16_count(quick_weights):
    model = VGG16((64, 64, 3), classes=1000)
    # The published one is for 224x224 pixels, of which 7x7 reach the first dense
    # layer; of 64x64 it is 2x2.
    larger = (7 * 7 - 2 * 2) * 512 * 4096
    assert trainable_parameters(model) + larger == PUBLISHED["VGG16"]


@pytest.mark.one_backend
def test_resnet101_count(quick_weights):
    model = ResNet101((32, 32, 3), classes=1000)
    biases = sum(
        layer.filters
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D)
    )
    # torchvision's convolutions have no biases, Keras's have.
    assert trainable_parameters(model) - biases == PUBLISHED["ResNet101"]
    assert model.count_params() == 44_707_176


@pytest.mark.one_backend
def test_mobilenet_v3_count(quick_weights):
    model = MobileNetV3((32, 32, 3), classes=1000)
    assert trainable_parameters(model) == PUBLISHED["MobileNetV3-Large"]


@pytest.mark.one_backend
@pytest.mark.parametrize("alpha", [0.35, 1.25])
def test_mobilenet_v3_widths(alpha, quick_weights):
    model = MobileNetV3((32, 32, 3), classes=20, alpha=alpha)
    peer = keras.applications.MobileNetV3Large(
        (32, 32, 3), alpha=alpha, classes=20, weights=None
    )
    assert model.count_params() == peer.count_params()
    assert model.name == f"mobilenet_v3_{alpha}".replace(".", "_")


@pytest.mark.one_backend
def test_mobilenet_v3_names_are_stable(quick_weights):
    # Had Keras's numbering gone on through the process, a second model would differ.
    model, second = (MobileNetV3((32, 32, 3), classes=20, alpha=0.35) for _ in range(2))
    assert model.get_config() == second.get_config()
    assert keras.models.model_from_json(model.to_json()).to_json() == model.to_json()


def test_mobilenet_v3_is_the_network_of_keras(quick_weights):
    model = MobileNetV3((32, 32, 1), classes=4, alpha=0.35)
    peer = keras.applications.MobileNetV3Large(
        (32, 32, 1),
        alpha=0.35,
        classes=4,
        weights=None,
        classifier_activation=None,
        include_preprocessing=False,
    )
    generator = np.random.default_rng(0)
    weights = [generator.normal(0.1, 0.3, w.shape) ** 2 for w in model.get_weights()]
    model.set_weights(weights)
    peer.set_weights(weights)
    images = generator.random((2, 32, 32, 1), "float32")
    logits = model.predict(images, verbose=0)
    assert np.ptp(logits) > 0
    np.testing.assert_allclose(logits, peer.predict(images, verbose=0), rtol=1e-5)


@pytest.mark.wrong_input
@pytest.mark.parametrize("model", [VGG16, ResNet101, MobileNetV3])
def test_refuses_small_images(model):
    message = (
        rf"`input_shape` of {model.__name__} must be at least 32x32 pixels. "
        r"Received: input_shape=\(28, 28, 1\)"
    )
    with pytest.raises(ValueError, match=message):
        model(input_shape=(28, 28, 1), classes=10)


@pytest.mark.wrong_input
@pytest.mark.parametrize("model", [LeNet5, ResNet, VGG16, ResNet101, MobileNetV3])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_shape": (32, 32)}, r"`input_shape` of .* three positive integers"),
        ({"input_shape": (32, 32, 0)}, r"`input_shape` of .* three positive integers"),
        ({"input_shape": (None, 32, 3)}, r"`input_shape` of .* positive integers"),
        ({"classes": 0}, r"`classes` of .* positive integer. Received: classes=0"),
        ({"classes": 1.5}, r"`classes` of .* positive integer. Received: classes=1.5"),
    ],
)
def test_refuses_arguments(model, arguments, message):
    with pytest.raises(ValueError, match=message):
        model(**arguments)


@pytest.mark.wrong_input
@pytest.mark.parametrize("alpha", [0, -0.5, float("nan")])
def test_refuses_alpha(alpha):
    with pytest.raises(ValueError, match=r"`alpha` must be > 0. Received: alpha="):
        MobileNetV3(alpha=alpha)


@pytest.mark.one_backend
@pytest.mark.parametrize(
    "model",
    [
        lambda: LeNet5((8, 8, 1), classes=3),
        lambda: ResNet((8, 8, 1), classes=3, depth=8),
        lambda: VGG16((32, 32, 1), classes=3),
        lambda: ResNet101((32, 32, 1), classes=3),
        lambda: MobileNetV3((32, 32, 1), classes=3),
    ],
    ids=["LeNet5", "ResNet", "VGG16", "ResNet101", "MobileNetV3"],
)
def test_all_give_logits(model, quick_weights):
    model = model()
    assert model.inputs[0].dtype == "float32"
    assert model.inputs[0].name == "images"
    assert model.output_shape == (None, 3)
    last = [layer for layer in model.layers if getattr(layer, "activation", None)][-1]
    assert last.activation is keras.activations.linear
