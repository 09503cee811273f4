"""Fidelity counts positions by their weights; losses take weights or refuse them."""

import keras
import numpy as np
import pytest

import keras_kd


def fixed(logits):
    """A model that gives these logits, whatever comes."""
    model = keras.Sequential([keras.Input(logits.shape[1:]), keras.layers.Identity()])
    model.add(keras.layers.Dense(logits.shape[-1], use_bias=False))
    return model


def pair(shape):
    generator = np.random.default_rng(0)
    x = generator.standard_normal(shape).astype("float32")
    teacher, student = fixed(x), fixed(x)
    for model in (teacher, student):
        kernel = generator.standard_normal((shape[-1], shape[-1]))
        model.layers[-1].set_weights([kernel.astype("float32")])
    decided = [
        np.argmax(model.predict(x, verbose=0), -1) for model in (teacher, student)
    ]
    return x, teacher, student, decided[0] == decided[1]


@pytest.mark.parametrize("shape", [(12, 4), (6, 5, 4)])
def test_positions_count_by_their_weights_and_examples_alike(shape):
    x, teacher, student, agree = pair(shape)
    assert 0 < agree.mean() < 1
    distiller = keras_kd.Distiller(teacher, student, output_kind="categorical")
    distiller.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    y = np.zeros(shape[:-1], "int32")
    generator = np.random.default_rng(1)
    for weight in (
        agree.astype("float32"),
        1 - agree.astype("float32"),
        generator.uniform(0, 2, shape[:-1]).astype("float32"),
    ):
        found = distiller.evaluate(
            x, y, sample_weight=weight, batch_size=4, verbose=0, return_dict=True
        )
        # Weights of whole examples count in no metric of `compile(metrics=)` either.
        positions = len(shape) > 2
        expected = np.average(agree, weights=weight if positions else None)
        assert float(found["fidelity"]) == pytest.approx(expected, abs=1e-6)
    plain = distiller.evaluate(x, y, verbose=0, return_dict=True)
    assert float(plain["fidelity"]) == pytest.approx(agree.mean(), abs=1e-6)


@pytest.mark.wrong_input
@pytest.mark.parametrize(
    "loss", [keras_kd.losses.DIST(), keras_kd.losses.RelationalKD()]
)
def test_losses_of_relations_take_no_weights(loss):
    x = np.random.default_rng(0).standard_normal((4, 3)).astype("float32")
    with pytest.raises(ValueError, match=r"does not take `sample_weight`"):
        loss(x, x, sample_weight=np.ones(4, "float32"))
    assert float(loss(x, x)) == pytest.approx(0, abs=1e-5)


def test_a_loss_is_called_in_a_loop_of_ones_own():
    generator = np.random.default_rng(0)
    teacher, student = generator.standard_normal((2, 4, 3)).astype("float32")
    loss = keras_kd.losses.SoftTargets(2.0)
    weight = np.array([0, 1, 2, 1], "float32")
    assert float(loss(teacher, student, sample_weight=weight)) == float(
        loss.compute_loss(teacher, student, sample_weight=weight)
    )
    with pytest.raises(ValueError, match="of the same shape"):
        loss(teacher, student[:, :2])
