import numpy as np
import pytest
from PIL import Image

from keras_kd.datasets import load

pytestmark = pytest.mark.once

WNIDS = ["n02", "n01", "n03"]


@pytest.fixture
def folder(tmp_path):
    """As unpacked; each class is one shade, so JPEG loses nothing that matters."""
    root = tmp_path / "tiny-imagenet-200"
    for k, wnid in enumerate(sorted(WNIDS)):
        images = root / "train" / wnid / "images"
        images.mkdir(parents=True)
        for i in range(4):
            # A few of the official images are gray.
            mode = "L" if i == 0 else "RGB"
            colour = 60 * (k + 1)
            image = Image.new(mode, (64, 64), colour if i == 0 else (colour,) * 3)
            image.save(images / f"{wnid}_{i}.JPEG")
    (root / "val" / "images").mkdir(parents=True)
    lines = []
    for i, wnid in enumerate(WNIDS):
        colour = 60 * (sorted(WNIDS).index(wnid) + 1)
        image = Image.new("RGB", (64, 64), (colour,) * 3)
        image.save(root / "val" / "images" / f"val_{i}.JPEG")
        lines.append(f"val_{i}.JPEG\t{wnid}\t0\t32\t44\t62\n")
    (root / "val" / "val_annotations.txt").write_text("".join(lines))
    return tmp_path


@pytest.mark.parametrize("inner", ["", "tiny-imagenet-200"])
def test_official_layout(inner, folder):
    data = load("tiny_imagenet", folder=folder / inner)
    assert data.x_train.shape == (12, 64, 64, 3)
    assert data.x_train.dtype == np.float32
    assert data.y_train.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert data.y_test.tolist() == [1, 0, 2]
    for images, labels in ((data.x_train, data.y_train), (data.x_test, data.y_test)):
        for image, label in zip(images, labels, strict=True):
            np.testing.assert_allclose(image, 60 * (label + 1) / 255, atol=2 / 255)


def test_subset(folder):
    data = load("tiny_imagenet", folder=folder, n_train=6, n_test=2)
    assert np.bincount(data.y_train).tolist() == [2, 2, 2]
    assert len(data.x_train) == 6
    assert len(data.x_test) == 2


@pytest.mark.parametrize("given", [True, False])
def test_absent(given, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"tiny-imagenet-200.* as `folder`"):
        load("tiny_imagenet", folder=tmp_path if given else None)
