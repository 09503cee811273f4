"""A plain loss of Keras, where a distillation loss is expected."""

import keras
import numpy as np
import pytest
from loss_inputs import normal, value

from keras_kd.distiller.arguments import named_losses
from keras_kd.losses import LogitMSE, SoftTargets

losses = keras.losses

SQUARED = (
    "mse",
    "MeanSquaredError",
    losses.MeanSquaredError(),
    losses.mean_squared_error,
)
DIVERGENCES = (
    "kl_divergence",
    "KLDivergence",
    losses.KLDivergence(),
    losses.kl_divergence,
)


def only(given):
    (loss,) = named_losses(given).values()
    return loss


@pytest.mark.parametrize("given", SQUARED, ids=str)
def test_squared_errors_are_of_logits(given):
    teacher, student = normal(4, 5, seed=1), normal(4, 5, seed=2)
    loss = only(given)
    assert type(loss) is LogitMSE
    expected = losses.MeanSquaredError()(teacher, student)
    assert value(loss(teacher, student)) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("given", DIVERGENCES, ids=str)
def test_divergences_are_of_what_logits_predict(given):
    teacher, student = normal(4, 5, seed=1), normal(4, 5, seed=2)
    loss = only(given)
    assert type(loss) is SoftTargets
    p, q = keras.ops.softmax(teacher), keras.ops.softmax(student)
    expected = losses.KLDivergence()(p, q)
    assert value(loss(teacher, student)) == pytest.approx(float(expected), rel=1e-4)


def test_a_cross_entropy_from_logits():
    teacher, student = normal(4, 5, seed=1), normal(4, 5, seed=2)
    plain = losses.CategoricalCrossentropy(from_logits=True)
    expected = plain(keras.ops.softmax(teacher), student)
    actual = value(only(plain)(teacher, student))
    assert actual == pytest.approx(float(expected), rel=1e-4)


def test_a_divergence_has_the_meaning_of_the_kind():
    teacher, student = normal(4, 3, seed=1), normal(4, 3, seed=2)
    loss = only("kl_divergence")
    actual = value(loss(teacher, student, output_kind="continuous"))
    assert actual == pytest.approx(np.square(teacher - student).mean(), rel=1e-5)


def test_lists_and_dicts():
    assert list(named_losses(["mse", "mse", "kld"])) == [
        "logit_mse",
        "logit_mse_2",
        "soft_targets",
    ]
    named = named_losses({"a": "mse", "b": SoftTargets(2.0)})
    assert type(named["a"]) is LogitMSE
    assert named["b"].temperature == 2.0


class Own(losses.MeanSquaredError):
    def call(self, y_true, y_pred):
        return 0 * y_pred


@pytest.mark.wrong_input
@pytest.mark.parametrize(
    ("given", "way"),
    [
        (losses.CategoricalCrossentropy(), r"from_logits=True\)`, or `SoftTargets"),
        ("categorical_crossentropy", r"from_logits=True\)`, or `SoftTargets"),
        (losses.BinaryCrossentropy(from_logits=True), "output_kind='bernoulli'"),
        ("binary_crossentropy", "output_kind='bernoulli'"),
        (
            losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1),
            "leave out label_smoothing=0.1",
        ),
        (losses.MeanSquaredError(reduction="sum"), "leave out reduction='sum'"),
        (losses.KLDivergence(reduction=None), "leave out reduction=None"),
        (losses.CosineSimilarity(), "`keras.distillation.LogitsDistillation"),
        (losses.Huber(), "`keras.losses.Huber`. For a loss between"),
        (Own(), "`keras.losses.Own`. For a loss between"),
        (losses.MeanSquaredError, "the class MeanSquaredError. Call the class."),
        (SoftTargets, "the class SoftTargets. Call the class."),
        (["mse", "nothing"], r"distillation_losses\[1\]='nothing'"),
        ({"a": 3}, "a=3 of type int"),
        ([None], r"distillation_losses\[0\]=None"),
    ],
    ids=str,
)
def test_where_it_is_not_clear(given, way):
    with pytest.raises(ValueError, match=f"must hold .* Received: .*{way}"):
        named_losses(given)
