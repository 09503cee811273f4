"""Damaged and hostile files of data sets: one message that names the file."""

import gzip
import pickle
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from keras_kd.datasets import load, loading
from keras_kd.datasets.raw import Raw

pytestmark = pytest.mark.once


def cifar(folder, data, labels):
    inner = folder / "cifar-100-python"
    inner.mkdir()
    for file in ("train", "test"):
        batch = {b"data": data, b"fine_labels": labels}
        (inner / file).write_bytes(pickle.dumps(batch, protocol=2))
    return folder


BYTES = np.zeros((2, 3072), np.uint8)


@pytest.mark.attack
@pytest.mark.parametrize(
    ("data", "labels", "message"),
    [
        (BYTES[:, 1:], [0, 1], r"train' must be a file of CIFAR"),
        (BYTES, [0], r"train' must be a file of CIFAR.* labels of shape \(1,\)"),
        (BYTES, [0, 1.5], r"train' must be a file of CIFAR.* dtype float64"),
        (BYTES, [0, b"a"], r"train' must be a file of CIFAR"),
        (BYTES, [0, None], r"train' must be a file of CIFAR.* dtype object"),
        (b"text", [0, 1], r"train' must be a file of CIFAR"),
        (BYTES, [0, 100], r"train images of 'cifar100' must have labels.*: 100"),
        (BYTES, [0, -4], r"train images of 'cifar100' must have labels.*: -4"),
        (BYTES[:0], [], r"train' must be a file of CIFAR.*|train images of 'cifar100'"),
    ],
)
def test_cifar(data, labels, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        load("cifar100", folder=cifar(tmp_path, data, labels))


@pytest.mark.attack
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x04N.", None])
def test_keras_file_of_mnist(content, no_cache):
    path = no_cache / "datasets" / "mnist.npz"
    path.parent.mkdir(parents=True)
    if content is None:
        np.savez(path, x_train=np.zeros((2, 28, 28), np.uint8))
    else:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"mnist.npz' must be Keras's file of MNIST"):
        load("mnist")


@pytest.mark.attack
def test_an_object_array_is_not_unpickled(no_cache):
    path = no_cache / "datasets" / "mnist.npz"
    path.parent.mkdir(parents=True)
    np.savez(path, x_train=np.array([print], object))
    with pytest.raises(ValueError, match=r"mnist.npz' must be Keras's file of MNIST"):
        load("mnist")


@pytest.mark.attack
def test_a_gzip_is_not_inflated_beyond_its_header(idx_folder):
    folder, _ = idx_folder()
    path = folder / "train-images-idx3-ubyte.gz"
    header = gzip.decompress(path.read_bytes())[:16]
    path.write_bytes(gzip.compress(header + bytes(200 * 2**20)))
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"ubyte.gz' must hold .* Received: more"):
        load("fashion_mnist", folder=folder)
    _, highest = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert highest < 20 * 2**20


@pytest.mark.attack
@pytest.mark.parametrize("sizes", [(2**31, 2**31, 2), (2**32 - 1,) * 3])
def test_a_header_that_claims_too_much(sizes, idx_folder):
    folder, _ = idx_folder(gzipped=False)
    path = folder / "train-images-idx3-ubyte"
    header = np.array(sizes, ">u4").tobytes()
    path.write_bytes(b"\x00\x00\x08\x03" + header)
    with pytest.raises(ValueError, match=r"ubyte' must hold images or labels, at most"):
        load("fashion_mnist", folder=folder)


@pytest.mark.damage
@pytest.mark.parametrize("damage", [b"\xff", b"\x00"])
def test_a_flipped_byte_in_a_gzip(damage, idx_folder):
    folder, _ = idx_folder()
    path = folder / "train-images-idx3-ubyte.gz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x55 | damage[0]
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"ubyte.gz' is not a whole gzip file"):
        load("fashion_mnist", folder=folder)


@pytest.mark.damage
@pytest.mark.parametrize("label", [10, 77, 255])
def test_a_label_that_is_no_class(label, idx_folder):
    folder, _ = idx_folder(gzipped=False)
    path = folder / "t10k-labels-idx1-ubyte"
    path.write_bytes(path.read_bytes()[:-1] + bytes([label]))
    for name in ("fashion_mnist", "binary_fashion_mnist", "fashion_overlay"):
        message = rf"test images of 'fashion_mnist' must .*: {label}"
        with pytest.raises(ValueError, match=message):
            load(name, folder=folder)


def tiny_imagenet(folder, lines=("a.JPEG\tn01",), size=(64, 64)):
    root = folder / "tiny-imagenet-200"
    (root / "train" / "n01" / "images").mkdir(parents=True)
    (root / "val" / "images").mkdir(parents=True)
    Image.new("RGB", size).save(root / "train" / "n01" / "images" / "n01_0.JPEG")
    Image.new("RGB", (64, 64)).save(root / "val" / "images" / "a.JPEG")
    Image.new("RGB", (64, 64)).save(folder / "outside.JPEG")
    (root / "val" / "val_annotations.txt").write_text("\n".join(lines))
    return root


@pytest.mark.attack
@pytest.mark.parametrize(
    "line",
    [
        "../../../outside.JPEG\tn01",
        "{folder}/outside.JPEG\tn01",
        "..\tn01",
        "a.JPEG\tn77",
        "a.JPEG",
        "\tn01",
    ],
)
def test_annotations_stay_in_their_folder(line, tmp_path):
    folder = tiny_imagenet(tmp_path, [line.format(folder=tmp_path)])
    with pytest.raises(ValueError, match=r"val_annotations.txt' must .* line 1"):
        load("tiny_imagenet", folder=folder)


def test_tiny_imagenet_whole(tmp_path):
    assert load("tiny_imagenet", folder=tiny_imagenet(tmp_path)).x_test.shape[0] == 1


@pytest.mark.damage
def test_no_annotations(tmp_path):
    with pytest.raises(ValueError, match=r"must hold images, .* Received: 1 and 0"):
        load("tiny_imagenet", folder=tiny_imagenet(tmp_path, []))


@pytest.mark.damage
def test_an_image_of_another_size(tmp_path):
    with pytest.raises(ValueError, match=r"n01_0.JPEG' must be .* Received: 9000x9000"):
        load("tiny_imagenet", folder=tiny_imagenet(tmp_path, size=(9000, 9000)))


@pytest.mark.damage
def test_what_is_no_image(tmp_path):
    folder = tiny_imagenet(tmp_path)
    (folder / "val" / "images" / "a.JPEG").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"a.JPEG' must be a JPEG image of 64x64"):
        load("tiny_imagenet", folder=folder)


IMAGES, LABELS = np.zeros((4, 28, 28, 1), np.uint8), np.arange(4)


@pytest.mark.wrong_input
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"x_train": np.full((4, 28, 28), np.nan)},
            "train images of 'mnist' must be f",
        ),
        ({"x_test": IMAGES[:0], "y_test": LABELS[:0]}, "test images .* n > 0"),
        ({"x_train": IMAGES[:3]}, "train images .* integer label each"),
        ({"y_test": LABELS / 2}, "test images .* integer label each"),
        ({"y_test": LABELS - 4}, "test images .* Received: -4, -3, -2, -1"),
        (
            {"x_test": np.zeros((4, 27, 28, 1))},
            "images of 'mnist' must be of one shape",
        ),
        ({"x_train": np.zeros(4)}, r"train images .* shape \(4,\)"),
    ],
)
def test_what_tfds_gives_is_looked_at(changed, message, monkeypatch, no_cache):
    raw = Raw(IMAGES, LABELS, IMAGES, LABELS)._replace(**changed)
    monkeypatch.setattr(loading, "_read_tfds", lambda name, folder: raw)
    with pytest.raises(ValueError, match=message):
        load("mnist")
