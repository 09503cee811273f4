"""Moving averages of weights: the formula, and nothing at all to average."""

import keras
import numpy as np

from keras_kd.backend import WeightAverage


def test_against_the_formula():
    generator = np.random.default_rng(0)
    shapes = [(3, 2), (), (5,)]
    variables = [keras.Variable(generator.normal(size=shape)) for shape in shapes]
    averages = [generator.normal(size=shape).astype("float32") for shape in shapes]
    moving = WeightAverage(variables, averages)
    wanted = [average.astype("float64") for average in averages]
    for decay in (0.0, 0.25, 0.9, 1.0):
        for i, (variable, shape) in enumerate(zip(variables, shapes, strict=True)):
            variable.assign(generator.normal(size=shape))
            value = keras.ops.convert_to_numpy(variable)
            wanted[i] = decay * wanted[i] + (1 - decay) * value
        moving.update(decay)
        for a, b in zip(moving.numpy(), wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_of_nothing():
    moving = WeightAverage([], [])
    moving.update(0.5)
    assert moving.numpy() == []
