import hashlib
import io
import subprocess
import sys
import tarfile

import numpy as np
import pytest
import requests
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download import downloader

from keras_kd.datasets import load, loading, mnist
from keras_kd.datasets import tfds as reader

pytestmark = pytest.mark.once

CIFAR10 = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"


@pytest.fixture
def accept(monkeypatch):
    """Makes a small file pass for the official one, whose checksum is known."""

    def replace(name, url, path):
        builder = tfds.builder(name, data_dir=path.parents[2])
        content = path.read_bytes()
        info = type(builder.url_infos[url])(
            size=len(content),
            checksum=hashlib.sha256(content).hexdigest(),
            filename=path.name,
        )
        monkeypatch.setitem(builder.url_infos, url, info)

    return replace


@pytest.fixture
def cifar10(tmp_path, accept):
    """CIFAR-10's "binary version" where TFDS looks for files fetched by hand."""
    generator = np.random.default_rng(0)
    files = {"batches.meta.txt": "\n".join(f"class{i}" for i in range(10)).encode()}
    examples = {"train": [], "test": []}
    for file in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        part = examples["test" if file == "test_batch" else "train"]
        content = b""
        for label in (3, 7):
            pixels = generator.integers(0, 256, (3, 32, 32), np.uint8)
            content += bytes([label]) + pixels.tobytes()
            part.append((label, pixels.transpose(1, 2, 0)))
        files[f"{file}.bin"] = content
    manual = tmp_path / "downloads" / "manual"
    manual.mkdir(parents=True)
    with tarfile.open(manual / "cifar-10-binary.tar.gz", "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    accept("cifar10", CIFAR10, manual / "cifar-10-binary.tar.gz")
    return tmp_path, examples


def rows(images, labels):
    return sorted(
        (int(y), np.rint(x).astype(np.uint8).tobytes())
        for x, y in zip(images, labels, strict=True)
    )


def test_real_files_in_the_download_cache(cifar10):
    folder, examples = cifar10
    data = load("cifar10", folder=folder)
    for x, y, part in (
        (data.x_train, data.y_train, "train"),
        (data.x_test, data.y_test, "test"),
    ):
        labels, images = zip(*examples[part], strict=True)
        assert x.dtype == np.float32
        assert rows(x * 255, y) == rows(np.stack(images), labels)
    # What is prepared is read again, in a process of its own without TensorFlow.
    code = (
        "import sys\n"
        "from keras_kd.datasets import load\n"
        f"data = load('cifar10', folder={str(folder)!r})\n"
        "assert data.x_train.shape == (10, 32, 32, 3)\n"
        "import keras\n"
        "if keras.backend.backend() != 'tensorflow':\n"
        "    assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_prepared_as_tfrecords(cifar10):
    folder, examples = cifar10
    builder = tfds.builder("cifar10", data_dir=folder, file_format="tfrecord")
    builder.download_and_prepare()
    data = load("cifar10", folder=folder)
    labels, images = zip(*examples["test"], strict=True)
    assert rows(data.x_test * 255, data.y_test) == rows(np.stack(images), labels)


@pytest.mark.parametrize(
    ("name", "shape", "classes"),
    [
        ("mnist", (28, 28, 1), 10),
        ("fashion_mnist", (28, 28, 1), 10),
        ("cifar10", (32, 32, 3), 10),
        ("cifar100", (32, 32, 3), 100),
        ("binary_cifar100", (32, 32, 3), 2),
    ],
)
def test_mocked(name, shape, classes, monkeypatch, tmp_path):
    monkeypatch.setattr(mnist, "DEBIAN_FASHION_MNIST", tmp_path)
    with tfds.testing.mock_data(num_examples=7):
        data = load(name)
    assert data.x_train.shape == data.x_test.shape == (7, *shape)
    assert data.y_train.shape == (7,)
    assert data.y_train.max() < data.classes == classes
    assert 0 < data.x_train.max() <= 1


def test_no_files_and_no_network(tmp_path, monkeypatch):
    retries = []

    def no_network(*args, **kwargs):
        retries.append(downloader.MAX_RETRIES)
        raise requests.ConnectionError("no network")

    monkeypatch.setattr(requests.Session, "get", no_network)
    monkeypatch.setattr(reader, "_resolves", lambda url: False)
    patience = downloader.MAX_RETRIES
    with pytest.raises(FileNotFoundError) as error:
        load("cifar10", folder=tmp_path)
    # Left alone, TensorFlow Datasets would go on for minutes.
    assert retries == [0]
    assert patience == downloader.MAX_RETRIES > 0
    message = str(error.value)
    assert f"cifar10 was not found in '{tmp_path}'" in message
    assert "no network" in message
    assert "pip install keras-kd[datasets]" in message
    assert f"put cifar-10-binary.tar.gz into '{tmp_path}/downloads/manual'" in message
    assert "unpacked cifar-10-python.tar.gz" in message


def test_without_tensorflow_datasets(tmp_path, monkeypatch):
    monkeypatch.setattr(mnist, "DEBIAN_FASHION_MNIST", tmp_path)
    monkeypatch.setattr(loading, "fashion_mnist_places", lambda: [tmp_path])
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(FileNotFoundError) as error:
        load("fashion_mnist")
    message = str(error.value)
    assert "TensorFlow Datasets is not complete" in message
    assert "dataset-fashion-mnist" in message
    assert "four IDX files" in message
