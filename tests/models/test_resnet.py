import itertools

import keras
import numpy as np
import pytest
import torch

from keras_kd.models import ResNet


def trainable_parameters(model):
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables)


def closed_form(depth, channels, classes):
    """3x3 convolutions without biases, two weights a channel after each, one dense."""
    per_stage = (depth - 2) // 3
    widths = [channels] + [16] * (1 + per_stage) + [32] * per_stage + [64] * per_stage
    pairs = itertools.pairwise(widths)
    return sum(9 * a * b + 2 * b for a, b in pairs) + 64 * classes + classes


# Option A of He et al.; the same integers as in PyTorch implementations of it, and in
# millions those of the paper's Table 6.
PUBLISHED = {
    20: (269_722, "0.27"),
    32: (464_154, "0.46"),
    44: (658_586, "0.66"),
    56: (853_018, "0.85"),
    110: (1_727_962, "1.7"),
}


@pytest.mark.parametrize("depth", PUBLISHED)
def test_published_counts(depth, quick_weights):
    exact, millions = PUBLISHED[depth]
    count = trainable_parameters(ResNet((32, 32, 3), 10, depth=depth))
    assert count == exact == closed_form(depth, 3, 10)
    digits = 1 if depth == 110 else 2
    assert f"{count / 1e6:.{digits}f}" == millions


@pytest.mark.parametrize(("channels", "classes"), [(1, 10), (3, 100)])
def test_counts_of_other_tasks(channels, classes, quick_weights):
    model = ResNet((28, 28, channels), classes, depth=8)
    assert trainable_parameters(model) == closed_form(8, channels, classes)


class TorchBlock(torch.nn.Module):
    def __init__(self, channels, filters, stride):
        super().__init__()
        nn = torch.nn
        self.stride, self.new_channels = stride, filters - channels
        self.conv1 = nn.Conv2d(channels, filters, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(filters)
        self.conv2 = nn.Conv2d(filters, filters, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(filters)

    def forward(self, x):
        relu, pad = torch.nn.functional.relu, torch.nn.functional.pad
        residual = self.bn2(self.conv2(relu(self.bn1(self.conv1(x)))))
        # Option A.
        shortcut = x[:, :, :: self.stride, :: self.stride]
        return relu(residual + pad(shortcut, (0, 0, 0, 0, 0, self.new_channels)))


class TorchResNet14(torch.nn.Module):
    def __init__(self, classes):
        super().__init__()
        nn = torch.nn
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(TorchBlock(16, 16, 1), TorchBlock(16, 16, 1))
        self.layer2 = nn.Sequential(TorchBlock(16, 32, 2), TorchBlock(32, 32, 1))
        self.layer3 = nn.Sequential(TorchBlock(32, 64, 2), TorchBlock(64, 64, 1))
        self.fc = nn.Linear(64, classes)

    def forward(self, x):
        x = torch.nn.functional.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(x.mean((2, 3)))


def weights_for_keras(peer, model):
    state = {name: value.numpy() for name, value in peer.state_dict().items()}

    def values(layer):
        name = layer.name
        for stage in "123":
            for block in "12":
                prefix = f"stage{stage}_block{block}_"
                name = name.replace(prefix, f"layer{stage}.{int(block) - 1}.")
        if isinstance(layer, keras.layers.Conv2D):
            return [state[f"{name}.weight"].transpose(2, 3, 1, 0)]
        if isinstance(layer, keras.layers.Dense):
            return [state["fc.weight"].T, state["fc.bias"]]
        parts = ("weight", "bias", "running_mean", "running_var")
        return [state[f"{name}.{part}"] for part in parts]

    return {layer.name: values(layer) for layer in model.layers if layer.weights}


def test_same_logits_as_torch(quick_weights):
    model = ResNet((32, 32, 3), classes=7, depth=14)
    peer = TorchResNet14(classes=7)
    # Batch statistics and scales that matter.
    generator = torch.Generator().manual_seed(0)
    for module in peer.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for value in (module.weight, module.bias, module.running_mean):
                value.data.normal_(0.5, 0.3, generator=generator)
            module.running_var.uniform_(0.5, 2.0, generator=generator)
    for name, values in weights_for_keras(peer.eval(), model).items():
        model.get_layer(name).set_weights(values)
    images = np.random.default_rng(0).random((3, 32, 32, 3), "float32")
    expected = peer(torch.from_numpy(images.transpose(0, 3, 1, 2))).detach().numpy()
    actual = model.predict(images, verbose=0)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)


def test_names_are_stable(quick_weights):
    first, second = (ResNet((8, 8, 1), depth=8) for _ in range(2))
    assert first.name == "resnet8"
    assert first.get_config() == second.get_config()
    for name in ("conv1", "stage1_block1_conv2", "stage3_block1_add", "logits"):
        first.get_layer(name)


def test_saved_file_needs_no_code_of_ours(tmp_path, quick_weights):
    model = ResNet((9, 9, 1), classes=3, depth=8)
    generator = np.random.default_rng(0)
    model.set_weights([generator.random(w.shape) for w in model.get_weights()])
    assert "keras_kd" not in model.to_json()
    model.save(tmp_path / "resnet8.keras")
    loaded = keras.models.load_model(tmp_path / "resnet8.keras")
    images = generator.random((2, 9, 9, 1), "float32")
    np.testing.assert_array_equal(
        loaded.predict(images, verbose=0), model.predict(images, verbose=0)
    )


@pytest.mark.wrong_input
@pytest.mark.parametrize("depth", [2, 0, -4, 18, 21, 20.5])
def test_refuses_depth(depth):
    with pytest.raises(ValueError, match=rf"`depth` must be 6n \+ 2.*depth={depth}"):
        ResNet(depth=depth)
