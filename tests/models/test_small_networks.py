"""MLP and ConvNet: their sizes, and their logits against PyTorch's own layers."""

import itertools

import numpy as np
import pytest
import torch

from keras_kd.models import MLP, ConvNet

pytestmark = pytest.mark.one_backend


def dense_parameters(*units):
    return sum(a * b + b for a, b in itertools.pairwise(units))


@pytest.mark.parametrize(
    ("width", "units", "name"), [(1, 128, "mlp"), (2, 256, "mlpx2"), (1e-3, 1, None)]
)
def test_mlp_of_a_width(width, units, name, quick_weights):
    model = MLP((12, 12, 1), classes=55, width=width)
    assert model.count_params() == dense_parameters(144, units, units, 55)
    assert name is None or model.name == name
    names = [layer.name for layer in model.layers]
    assert names == ["images", "flatten", "fc1", "fc2", "logits"]


@pytest.mark.parametrize(
    ("width", "filters", "name"), [(1, (32, 64), "convnet"), (0.5, (16, 32), None)]
)
def test_convnet_of_a_width(width, filters, name, quick_weights):
    few, many = filters
    model = ConvNet((12, 10, 3), classes=7, width=width)
    convolutions = sum(
        9 * a * b + b for a, b in itertools.pairwise((3, few, few, many))
    )
    dense = dense_parameters(3 * 2 * many, 128, 7)
    assert model.count_params() == convolutions + dense
    assert name is None or model.name == name


def by_torch(peer):
    """Weights as Keras has them: channels last, inputs first."""
    weights, maps = [], None
    for layer in peer:
        if isinstance(layer, torch.nn.Conv2d):
            kernel = layer.weight.detach().numpy().transpose(2, 3, 1, 0)
            maps = layer.out_channels
        elif isinstance(layer, torch.nn.Linear):
            kernel = layer.weight.detach().numpy().T
            if maps:  # the first after convolutions: torch flattens channels first
                places = len(kernel) // maps
                kernel = kernel.reshape(maps, places, -1).swapaxes(0, 1)
                kernel, maps = kernel.reshape(maps * places, -1), None
        else:
            continue
        weights += [kernel, layer.bias.detach().numpy()]
    return weights


def test_same_logits_as_torch():
    nn = torch.nn
    torch.manual_seed(0)
    mlp = nn.Sequential(
        nn.Flatten(),
        nn.Linear(48, 64),
        nn.ReLU(),
        nn.Linear(64, 64),
        nn.ReLU(),
        nn.Linear(64, 7),
    )
    convnet = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64, 128),
        nn.ReLU(),
        nn.Linear(128, 7),
    )
    images = np.random.default_rng(0).random((4, 8, 6, 1), "float32")
    for network, peer in ((MLP, mlp), (ConvNet, convnet)):
        model = network((8, 6, 1), classes=7, width=0.5)
        model.set_weights(by_torch(peer))
        x = torch.from_numpy(images.transpose(0, 3, 1, 2))
        actual = model.predict(images, verbose=0)
        np.testing.assert_allclose(actual, peer(x).detach().numpy(), atol=1e-5)


@pytest.mark.parametrize("network", [MLP, ConvNet])
@pytest.mark.parametrize("width", [0, float("inf")])
def test_refuses_width(network, width):
    with pytest.raises(ValueError, match=r"`width` must be > 0. Received: width="):
        network(width=width)


def test_refuses_images_that_pooling_makes_nothing_of():
    with pytest.raises(ValueError, match="`input_shape` of ConvNet must be at least 4"):
        ConvNet((3, 12, 1))
