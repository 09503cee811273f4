import numpy as np
import pytest

from keras_kd.datasets import load, mnist

pytestmark = pytest.mark.once


@pytest.mark.parametrize("gzipped", [True, False])
@pytest.mark.parametrize("name", ["fashion_mnist", "mnist"])
def test_from_a_folder(name, gzipped, idx_folder):
    folder, (x_train, y_train, x_test, y_test) = idx_folder(gzipped=gzipped)
    data = load(name, folder=folder)
    for actual, expected in ((data.x_train, x_train), (data.x_test, x_test)):
        assert actual.dtype == np.float32
        np.testing.assert_array_equal(
            actual, (expected[..., None] / 255).astype("float32")
        )
    np.testing.assert_array_equal(data.y_train, y_train)
    np.testing.assert_array_equal(data.y_test, y_test)


def test_from_keras_cache(idx_folder, no_cache):
    _, arrays = idx_folder(no_cache / "datasets" / "fashion-mnist")
    data = load("fashion_mnist")
    np.testing.assert_array_equal(data.y_train, arrays[1])


def test_mnist_from_keras_cache(no_cache):
    (no_cache / "datasets").mkdir(parents=True)
    x, y = np.arange(3 * 784, dtype=np.uint8).reshape(3, 28, 28), np.arange(3)
    np.savez(
        no_cache / "datasets" / "mnist.npz", x_train=x, y_train=y, x_test=x, y_test=y
    )
    data = load("mnist")
    np.testing.assert_allclose(data.x_test[..., 0] * 255, x, atol=1e-4)


def test_from_debians_package(idx_folder, tmp_path, monkeypatch):
    if not mnist.DEBIAN_FASHION_MNIST.is_dir():
        folder, _ = idx_folder(tmp_path / "debian", examples=(100, 50))
        monkeypatch.setattr(mnist, "DEBIAN_FASHION_MNIST", folder)
        sizes = (100, 50)
    else:
        sizes = (60_000, 10_000)
    data = load("fashion_mnist", n_train=20)
    assert len(data.x_train) == 20
    assert len(data.x_test) == sizes[1]
    counts = np.bincount(mnist.read_fashion_mnist(None).y_train)
    assert counts.tolist() == [sizes[0] // 10] * 10


@pytest.mark.damage
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[:-100], "must hold"),
        (lambda content: b"P5" + content, "is not an IDX file"),
        (lambda content: content[:9], "cut short"),
        (lambda content: b"", "is not an IDX file"),
    ],
)
def test_damaged_file(damage, message, idx_folder):
    folder, _ = idx_folder(gzipped=False)
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=rf"train-images-idx3-ubyte' .*{message}"):
        load("fashion_mnist", folder=folder)


@pytest.mark.damage
def test_damaged_gzip(idx_folder):
    folder, _ = idx_folder()
    path = folder / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ValueError, match="is not a whole gzip file"):
        load("fashion_mnist", folder=folder)


@pytest.mark.damage
def test_labels_of_other_images(idx_folder):
    folder, _ = idx_folder(gzipped=False)
    other, _ = idx_folder(folder / "other", gzipped=False, examples=(30, 10))
    name = "train-labels-idx1-ubyte"
    (folder / name).write_bytes((other / name).read_bytes())
    with pytest.raises(ValueError, match="one image for each label"):
        load("fashion_mnist", folder=folder)
