import os
import pickle

import numpy as np
import pytest

from keras_kd.datasets import load

pytestmark = pytest.mark.once


def write_batches(folder, files, key, classes):
    """As the official archives: rows of 1024 red, green, blue values, bytes as keys."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    written = {}
    for file in files:
        data = generator.integers(0, 256, (10, 3072), np.uint8)
        labels = generator.integers(0, classes, 10).tolist()
        batch = {b"data": data, key: labels, b"batch_label": b"a batch"}
        (folder / file).write_bytes(pickle.dumps(batch, protocol=2))
        written[file] = data, labels
    return written


CIFAR10 = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]


@pytest.mark.parametrize("where", ["folder", "above", "cache"])
def test_cifar10(where, tmp_path, no_cache):
    above = tmp_path / "files"
    if where == "cache":
        above = no_cache / "datasets" / "cifar-10-batches-py-target"
    inner = above / "cifar-10-batches-py"
    written = write_batches(inner, CIFAR10, b"labels", 10)
    folder = {"folder": inner, "above": above, "cache": None}[where]
    data = load("cifar10", folder=folder)
    assert data.x_train.shape == (50, 32, 32, 3)
    for k, (batch, labels) in enumerate(written[f] for f in CIFAR10[:5]):
        part = slice(10 * k, 10 * k + 10)
        np.testing.assert_array_equal(data.y_train[part], labels)
        red, green, blue = np.split(batch, 3, axis=1)
        for channel, plane in enumerate((red, green, blue)):
            np.testing.assert_allclose(
                data.x_train[part, :, :, channel] * 255,
                plane.reshape(10, 32, 32),
                atol=1e-4,
            )
    np.testing.assert_array_equal(data.y_test, written["test_batch"][1])


def test_cifar100_and_binary(tmp_path):
    folder = tmp_path / "cifar-100-python"
    written = write_batches(folder, ["train", "test"], b"fine_labels", 100)
    labels = np.array(written["train"][1])
    fine = load("cifar100", folder=tmp_path)
    np.testing.assert_array_equal(fine.y_train, labels)
    assert fine.classes == 100
    binary = load("binary_cifar100", folder=tmp_path)
    np.testing.assert_array_equal(binary.y_train, labels // 50)
    assert binary.y_train.dtype == np.int32
    assert binary.classes == 2
    np.testing.assert_array_equal(binary.x_test, fine.x_test)


class Harmful:
    def __reduce__(self):
        return os.mkdir, ("harmful",)


@pytest.mark.attack
def test_a_pickle_that_runs_code_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_batches(tmp_path / "files", ["train", "test"], b"fine_labels", 100)
    (tmp_path / "files" / "train").write_bytes(pickle.dumps(Harmful()))
    with pytest.raises(ValueError, match=r"train' must be .* names posix.mkdir"):
        load("cifar100", folder=tmp_path / "files")
    assert not (tmp_path / "harmful").exists()
