import keras
import pytest

from keras_kd.losses import (
    DIST,
    AttentionTransfer,
    DecoupledKD,
    FeatureHint,
    LabelSmoothingCrossentropy,
    LogitMSE,
    RelationalKD,
    SoftTargets,
)


@pytest.mark.parametrize(
    "loss",
    [
        SoftTargets(2.0, "cross_entropy"),
        LogitMSE(),
        FeatureHint("a/b", None, name="hint"),
        AttentionTransfer("a", "b", p=3),
        DecoupledKD(0.5, 2.0, 3.0),
        DIST(0.5, 2.0, 3.0),
        RelationalKD(1.0, 2.0, "a", "b"),
        LabelSmoothingCrossentropy(0.3, from_logits=False, reduction="sum"),
    ],
    ids=lambda loss: type(loss).__name__,
)
def test_configuration_round_trip(loss):
    config = keras.saving.serialize_keras_object(loss)
    assert config["registered_name"] == f"keras_kd>{type(loss).__name__}"
    again = keras.saving.deserialize_keras_object(config)
    assert type(again) is type(loss)
    assert again.get_config() == loss.get_config()
    for name, setting in loss.get_config().items():
        if name != "dtype":
            assert getattr(again, name) == setting


def test_a_built_hint_comes_back_built():
    hint = FeatureHint("a", "b")
    hint.build((None, 4, 3), (None, 4, 2))
    config = keras.saving.serialize_keras_object(hint)
    again = keras.saving.deserialize_keras_object(config)
    assert [tuple(w.shape) for w in again.weights] == [(2, 3), (3,)]
