import numpy as np
import pytest

from keras_kd.datasets import load
from keras_kd.datasets.overlay import overlay_pairs

pytestmark = pytest.mark.once


def one_pixel_images():
    """Two images of each of ten classes, each with a value of its own in one pixel."""
    images = np.zeros((20, 28, 28), np.uint8)
    images[:, 14, 14] = np.arange(1, 21) * 10
    return images, np.arange(20) % 10


def test_every_image_is_the_pair_its_class_says():
    images, labels = one_pixel_images()
    x, y = overlay_pairs(images, labels, 2000, seed=0, shift=4)
    assert x.shape == (2000, 36, 36)
    assert np.bincount(y, minlength=55).tolist() == [37] * 20 + [36] * 35
    pairs = [(a, b) for a in range(10) for b in range(a, 10)]
    shifts = set()
    both_seen = 0
    for image, label in zip(x, y, strict=True):
        rows, columns = np.nonzero(image)
        shifts |= {(r - 14, c - 14) for r, c in zip(rows, columns, strict=True)}
        values = image[rows, columns]
        classes = sorted(int(labels[v // 10 - 1]) for v in values)
        if len(values) == 2:
            both_seen += 1
            assert tuple(classes) == pairs[label]
            assert values[0] != values[1]  # never one image with itself
        else:
            assert classes[0] in pairs[label]
    assert both_seen > 1900
    # Up to 4 pixels each way around the middle of the larger canvas.
    assert shifts == {(r, c) for r in range(9) for c in range(9)}


def test_larger_value_wins():
    images = np.stack([np.full((28, 28), v, np.uint8) for v in (100, 100, 200, 200)])
    x, y = overlay_pairs(images, np.array([0, 0, 1, 1]), 60, seed=0, shift=4)
    assert set(np.unique(x)) == {0, 100, 200}
    for image, label in zip(x, y, strict=True):
        assert image.max() == (100 if label == 0 else 200)
        assert (image == 200).sum() in ([0] if label == 0 else range(784, 1297))


def test_from_the_seed_alone(idx_folder):
    folder, _ = idx_folder()
    first, again, other = (
        load("fashion_overlay", folder, n_train=110, n_test=55, seed=s)
        for s in (0, 0, 1)
    )
    np.testing.assert_array_equal(first.x_train, again.x_train)
    np.testing.assert_array_equal(first.y_test, again.y_test)
    assert not np.array_equal(first.x_train, other.x_train)
    assert not np.array_equal(first.x_train[:55], first.x_test)
    assert first.input_shape == (36, 36, 1)
    assert first.classes == 55
    assert first.x_train.max() <= 1
    assert np.bincount(first.y_train).tolist() == [2] * 55


def test_test_images_are_made_of_test_images(idx_folder):
    folder, arrays = idx_folder()
    data = load("fashion_overlay", folder, n_train=55, n_test=55)
    for images, sources in ((data.x_train, arrays[0]), (data.x_test, arrays[2])):
        # The first row of an overlay comes whole from one image, if from any.
        rows = {row.tobytes() for image in sources for row in image}
        found = 0
        for image in np.rint(images[..., 0] * 255).astype(np.uint8):
            top = image[np.flatnonzero(image.any(1))[0]]
            columns = np.flatnonzero(top)
            window = top[columns[0] : columns[-1] + 1]
            found += any(window.tobytes() in row for row in rows)
        assert found > 30


@pytest.mark.wrong_input
@pytest.mark.parametrize("size", [0, -1])
def test_refuses_sizes(size, idx_folder):
    folder, _ = idx_folder()
    with pytest.raises(ValueError, match=rf"`n_test` must be > 0. .*n_test={size}"):
        load("fashion_overlay", folder, n_test=size)


def test_digits_in_pairs():
    data, singles = load("digits_overlay"), load("digits")
    assert data.x_train.shape == data.x_test.shape == (5000, 12, 12, 1)
    assert data.classes == 55
    assert set(np.bincount(data.y_train)) == {90, 91}
    assert (data.x_train.min(), data.x_train.max()) == (0, 1)
    # Searched for: two digits of the same part that give the image, at some offsets.
    pairs = [(a, b) for a in range(10) for b in range(a, 10)]
    for x, y, sources, labels in (
        (data.x_train, data.y_train, singles.x_train, singles.y_train),
        (data.x_test, data.y_test, singles.x_test, singles.y_test),
    ):
        for image, label in zip(x[:20, ..., 0], y[:20], strict=True):
            windows = np.lib.stride_tricks.sliding_window_view(image, (8, 8))
            below = (sources[:, None, None, ..., 0] <= windows[None]).all((-2, -1))
            under, rows, columns = np.nonzero(below)
            covered = [
                labels[[i, j]]
                for i, r, c in zip(under, rows, columns, strict=True)
                for j, s, d in zip(under, rows, columns, strict=True)
                if np.array_equal(joined(sources, (i, r, c), (j, s, d)), image)
            ]
            assert pairs[label] in {tuple(sorted(map(int, c))) for c in covered}


def joined(sources, *placed):
    canvas = np.zeros((12, 12), "float32")
    for i, r, c in placed:
        window = canvas[r : r + 8, c : c + 8]
        np.maximum(window, sources[i, ..., 0], out=window)
    return canvas
