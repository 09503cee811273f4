import subprocess
import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits

from keras_kd.datasets import Batches, load
from keras_kd.datasets.digits import read_digits

pytestmark = pytest.mark.once


def rows(images, labels):
    return sorted(
        (int(y), x.astype(np.uint8).tobytes())
        for x, y in zip(images, labels, strict=True)
    )


def test_the_digits_of_scikit_learn():
    raw, expected = read_digits(), load_digits()
    assert raw.x_train.dtype == np.uint8
    ours = rows(raw.x_train, raw.y_train) + rows(raw.x_test, raw.y_test)
    assert sorted(ours) == rows(expected.images, expected.target)


def test_scaled_and_split():
    data = load("digits")
    assert data.x_train.shape == (1297, 8, 8, 1)
    assert data.x_test.shape == (500, 8, 8, 1)
    assert data.x_train.dtype == data.x_test.dtype == np.float32
    assert data.y_train.dtype == data.y_test.dtype == np.int32
    assert data.x_train.min() == 0
    assert data.x_train.max() == 1
    assert data.input_shape == (8, 8, 1)
    assert data.classes == 10
    assert np.bincount(data.y_test).tolist() == [50] * 10
    # The split is stored, so no release of NumPy can move it.
    assert data.y_test[:8].tolist() == read_digits().y_test[:8].tolist()


def test_needs_no_scikit_learn_and_no_tensorflow_datasets():
    code = (
        "import sys\n"
        "sys.modules['sklearn'] = sys.modules['tensorflow_datasets'] = None\n"
        "from keras_kd.datasets import load\n"
        "load('digits')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_data_set_is_shown_in_a_line():
    data = load("digits")
    shown = repr(data)
    assert len(shown) < 200
    assert "digits" in shown
    assert str(len(data.x_train)) in shown
    assert "10 classes" in shown


@pytest.mark.parametrize("augment", [True, "flip"])
def test_augment_is_a_layer(augment):
    with pytest.raises(ValueError, match=r"`augment` must be a layer.*Received"):
        Batches(np.zeros((4, 8, 8, 1)), augment=augment)
