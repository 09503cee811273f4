import keras
import numpy as np
import pytest
from hypothesis import given
from loss_inputs import normal, properties, tables, value, weights

from keras_kd.losses import LogitMSE


@properties
@given(tables(), tables(), weights())
def test_is_keras_mean_squared_error(teacher, student, weights):
    expected = keras.losses.MeanSquaredError()(teacher, student, weights)
    loss = LogitMSE().compute_loss(teacher, student, sample_weight=weights)
    assert value(loss) == pytest.approx(value(expected), rel=1e-5, abs=1e-6)


def test_is_the_papers_loss_times_two_over_classes():
    teacher, student = normal(6, 4, seed=1), normal(6, 4, seed=2)
    paper = np.mean(0.5 * np.sum((np.float64(teacher) - student) ** 2, axis=-1))
    loss = LogitMSE().compute_loss(teacher, student)
    assert value(loss) * 4 / 2 == pytest.approx(paper, rel=1e-5)
