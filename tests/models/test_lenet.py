import itertools

import numpy as np
import pytest
import torch

from keras_kd.models import LeNet5


def dense_parameters(*units):
    pairs = itertools.pairwise(units)
    return sum(a * b + b for a, b in pairs)


@pytest.mark.parametrize(
    ("shape", "width", "filters"),
    [
        ((28, 28, 1), 1, (6, 16)),
        ((32, 32, 3), 8, (48, 128)),
        ((8, 8, 1), 0.5, (3, 8)),
        ((32, 32, 3), 0.05, (1, 1)),
    ],
)
def test_only_convolutions_scale(shape, width, filters, quick_weights):
    model = LeNet5(shape, classes=10, width=width)
    first, second = filters
    convolutions = 25 * shape[-1] * first + first + 25 * first * second + second
    expected = convolutions + dense_parameters(25 * second, 120, 84, 10)
    assert model.count_params() == expected


def test_published_count(quick_weights):
    # The LeNet-5 of today's textbooks.
    assert LeNet5((28, 28, 1), classes=10).count_params() == 61_706


def test_same_logits_as_torch(quick_weights):
    model = LeNet5((28, 28, 1), classes=7, width=0.5)
    nn = torch.nn
    peer = nn.Sequential(
        nn.Conv2d(1, 3, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(3, 8, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(200, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, 7),
    )
    weights = []
    for layer in peer:
        if isinstance(layer, nn.Conv2d):
            kernel = layer.weight.detach().numpy().transpose(2, 3, 1, 0)
        elif isinstance(layer, nn.Linear):
            kernel = layer.weight.detach().numpy().T
            if layer.in_features == 200:
                kernel = kernel.reshape(8, 5, 5, 120)
                kernel = kernel.transpose(1, 2, 0, 3).reshape(200, 120)
        else:
            continue
        weights += [kernel, layer.bias.detach().numpy()]
    model.set_weights(weights)
    images = np.random.default_rng(0).random((4, 28, 28, 1), "float32")
    expected = peer(torch.from_numpy(images.transpose(0, 3, 1, 2))).detach().numpy()
    actual = model.predict(images, verbose=0)
    np.testing.assert_allclose(actual, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("width", "name"), [(1, "lenet5"), (8, "lenet5x8"), (0.5, "lenet5x0_5")]
)
def test_names(width, name, quick_weights):
    for _ in range(2):
        model = LeNet5((28, 28, 1), width=width)
        assert model.name == name
        assert [layer.name for layer in model.layers] == [
            "images",
            "pad",
            "conv1",
            "pool1",
            "conv2",
            "pool2",
            "flatten",
            "fc1",
            "fc2",
            "logits",
        ]


@pytest.mark.wrong_input
@pytest.mark.parametrize("width", [0, -1, float("nan"), float("inf")])
def test_refuses_width(width):
    with pytest.raises(ValueError, match=r"`width` must be > 0. Received: width="):
        LeNet5(width=width)


def test_numbers_of_numpy_are_numbers():
    i, f = np.int64, np.float32
    model = LeNet5((i(8), i(8), i(1)), i(3), f(0.5))
    assert model.output_shape == (None, 3)
