"""A student of a cache and a student of the running teacher: the same weights."""

import keras
import numpy as np
import pytest
from tiny_caches import (
    BACKEND,
    Fitted,
    assert_equal_weights,
    build,
    examples,
    moved,
    network,
    sparse_loss,
)

from keras_kd import Distiller
from keras_kd.losses import SoftTargets


@pytest.fixture
def teacher():
    return network(12, "teacher")


@pytest.mark.parametrize("shuffle", [False, True])
def test_logits(teacher, tmp_path, shuffle):
    x, y = examples()
    cache = build(teacher, (x, y), tmp_path)
    fit = Fitted(network(), alpha=0.5)
    cached, cached_logs = fit(cache, x, y, shuffle=shuffle)
    live, live_logs = fit(teacher, x, y, shuffle=shuffle)
    exact = {"tensorflow": not shuffle, "torch": True, "jax": False}
    assert_equal_weights(cached, live, bitwise=exact[BACKEND])
    assert moved(fit.start, cached)
    assert cached_logs.keys() == live_logs.keys() >= {"fidelity", "student_loss"}
    for name, values in cached_logs.items():
        np.testing.assert_allclose(values, live_logs[name], rtol=1e-5)


def test_a_tapped_layer(teacher, tmp_path):
    x, _ = examples()
    cache = build(teacher, x, tmp_path, taps=["hidden"])

    def losses():
        hint = keras.distillation.FeatureDistillation("mse", "hidden", "hidden")
        return {"kd": SoftTargets(2.0), "hint": hint}

    fit = Fitted(network(12), losses)
    cached, cached_logs = fit(cache, x)
    live, live_logs = fit(teacher, x)
    assert_equal_weights(cached, live)
    assert moved(fit.start, cached)
    np.testing.assert_allclose(cached_logs["hint_loss"], live_logs["hint_loss"], 1e-5)


def test_several_inputs_and_outputs(tmp_path):
    def two_headed(width):
        inputs = {"a": keras.Input((6,), name="a"), "b": keras.Input((3,), name="b")}
        both = keras.layers.Concatenate()([inputs["b"], inputs["a"]])
        hidden = keras.layers.Dense(width, activation="relu")(both)
        outputs = {
            "first": keras.layers.Dense(4, name="first")(hidden),
            "last": keras.layers.Dense(1, name="last")(hidden),
        }
        return keras.Model(inputs, outputs)

    x, _ = examples()
    x = {"b": x[:, :3] * 2, "a": x}
    teacher = two_headed(9)
    cache = build(teacher, x, tmp_path)
    fit = Fitted(two_headed(5))
    cached, logs = fit(cache, x)
    live, live_logs = fit(teacher, x)
    assert_equal_weights(cached, live)
    assert moved(fit.start, cached)
    assert logs.keys() == live_logs.keys() >= {"first_fidelity", "last_fidelity"}


def test_validation(teacher, tmp_path):
    x, y = examples()
    cache = build(teacher, (x, y), tmp_path)
    fit = Fitted(network(), alpha=0.5)
    cached, logs = fit(cache, x, y, validation_split=0.25)
    live, live_logs = fit(teacher, x, y, validation_split=0.25)
    assert_equal_weights(cached, live, bitwise=False)
    assert logs.keys() == live_logs.keys() >= {"val_fidelity", "val_loss"}
    for name, values in logs.items():
        np.testing.assert_allclose(values, live_logs[name], rtol=1e-5)
    # Data that the cache does not hold has the logs that need labels alone.
    validation = examples(seed=1)
    _, logs = fit(cache, x, y, epochs=1, validation_data=validation)
    assert logs.keys() >= {"val_student_loss", "fidelity"}
    assert not logs.keys() & {"val_fidelity", "val_distillation_loss"}


def test_evaluation(teacher, tmp_path):
    x, y = examples()
    cache = build(teacher, (x, y), tmp_path)
    student = network()
    logs = []
    for source in (cache, teacher):
        distiller = Distiller(source, student, SoftTargets(2.0), alpha=0.5)
        distiller.compile("sgd", sparse_loss())
        logs.append(
            distiller.evaluate(
                x, y, sample_weight=np.arange(44.0), verbose=0, return_dict=True
            )
        )
    assert logs[0].keys() == logs[1].keys() >= {"fidelity", "distillation_loss"}
    for name, value in logs[0].items():
        # Older versions of Keras return tensors.
        assert float(value) == pytest.approx(float(logs[1][name]), rel=1e-5)


def test_float16_changes_the_loss_by_less_than_a_thousandth(teacher, tmp_path):
    x, _ = examples()
    # Logits as far apart as those of a confident teacher.
    layer = teacher.get_layer("logits")
    layer.kernel.assign(layer.kernel * 10)
    assert np.ptp(teacher.predict(x, verbose=0), axis=1).mean() > 10
    cache = build(teacher, x, tmp_path, dtype="float16")
    fit = Fitted(network(), lambda: SoftTargets(1.0))
    _, cached = fit(cache, x)
    _, live = fit(teacher, x)
    difference = np.subtract(cached["loss"], live["loss"])
    assert 0 < np.abs(difference).max() < 1e-3
