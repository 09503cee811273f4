"""Several students in one model learn from one teacher as each would alone."""

import keras
import numpy as np
import pytest

from keras_kd import Distiller, SupervisionCache
from keras_kd.losses import LogitMSE, SoftTargets

X = np.random.default_rng(0).normal(size=(24, 5)).astype("float32")


def network(units, name, classes=3):
    return keras.Sequential(
        [
            keras.Input((5,)),
            keras.layers.Dense(units, "tanh"),
            keras.layers.Dense(classes),
        ],
        name=name,
    )


def train(teacher, student):
    distiller = Distiller(
        teacher,
        student,
        {"soft": SoftTargets(2.0), "m": LogitMSE()},
        output_kind="categorical",
    )
    distiller.compile(keras.optimizers.Adam(0.01))
    return distiller.fit(X, batch_size=8, epochs=2, shuffle=False, verbose=0).history


@pytest.fixture(scope="module")
def teacher():
    keras.utils.set_random_seed(0)
    return network(16, "teacher")


@pytest.mark.parametrize("cached", [False, True], ids=["live", "cached"])
def test_each_as_if_alone(cached, teacher, tmp_path):
    source = teacher
    if cached:
        source = SupervisionCache.build(teacher, X, tmp_path, progress=False)
    students = {"small": network(2, "small"), "large": network(8, "large")}
    start = {name: s.get_weights() for name, s in students.items()}
    alone = {}
    for name, student in students.items():
        history = train(source, student)
        alone[name] = (student.get_weights(), history["fidelity"][-1])
        student.set_weights(start[name])
    x = keras.Input((5,))
    together = keras.Model(x, {name: s(x) for name, s in students.items()})
    history = train(source, together)
    for name, student in students.items():
        weights, fidelity = alone[name]
        for one, other in zip(student.get_weights(), weights, strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)
        assert history[f"{name}_fidelity"][-1] == pytest.approx(fidelity)
        assert np.abs(weights[0] - start[name][0]).max() > 1e-3


@pytest.mark.wrong_input
def test_a_student_of_other_classes(teacher):
    x = keras.Input((5,))
    outputs = {"a": network(2, "a")(x), "b": network(2, "b", classes=4)(x)}
    with pytest.raises(ValueError, match="same structure and shape for SoftTargets"):
        Distiller(teacher, keras.Model(x, outputs))
