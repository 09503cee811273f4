import numpy as np
import pytest

from keras_kd.datasets import load

pytestmark = pytest.mark.once


@pytest.mark.parametrize("size", [1, 10, 25, 500, 1297])
def test_as_many_of_each_class_as_can_be(size):
    data = load("digits", n_train=size)
    assert len(data.x_train) == len(data.y_train) == size
    counts = np.bincount(data.y_train, minlength=10)
    available = np.bincount(load("digits").y_train)
    # No class is behind another unless it has no more.
    short = counts < counts.max() - 1
    assert (counts[short] == available[short]).all()


def test_images_stay_with_their_labels():
    whole = load("digits")
    known = {x.tobytes(): y for x, y in zip(whole.x_train, whole.y_train, strict=True)}
    part = load("digits", n_train=200, n_test=30)
    for x, y in zip(part.x_train, part.y_train, strict=True):
        assert known[x.tobytes()] == y


def test_from_the_seed_alone():
    first, again, other = (load("digits", n_train=50, seed=s) for s in (0, 0, 1))
    np.testing.assert_array_equal(first.x_train, again.x_train)
    assert not np.array_equal(first.x_train, other.x_train)


@pytest.mark.wrong_input
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_train": 0}, r"`n_train` must be between 1 and 1297.*n_train=0"),
        ({"n_train": 1298}, r"`n_train` must be between 1 and 1297.*n_train=1298"),
        ({"n_test": 501}, r"`n_test` must be between 1 and 500.*n_test=501"),
    ],
)
def test_refuses_sizes(arguments, message):
    with pytest.raises(ValueError, match=message):
        load("digits", **arguments)


@pytest.mark.wrong_input
def test_refuses_names_and_folders(tmp_path):
    with pytest.raises(ValueError, match=r"`name` must be one of 'digits'.*'dogs'"):
        load("dogs")
    with pytest.raises(FileNotFoundError, match=r"`folder` must be an existing folder"):
        load("mnist", folder=tmp_path / "nowhere")
