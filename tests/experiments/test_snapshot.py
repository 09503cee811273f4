"""A training that was interrupted goes on bit by bit as if it had not been."""

import keras
import numpy as np
import pytest

from keras_kd.datasets import Batches
from keras_kd.experiments.fitting import fit
from keras_kd.experiments.snapshot import Snapshot

X = np.random.default_rng(0).normal(size=(20, 4)).astype("float32")
Y = np.arange(20) % 3
EPOCHS = 4


class Interrupted(Exception):
    pass


class Interrupt(keras.callbacks.Callback):
    def __init__(self, epoch, batch):
        super().__init__()
        self.place, self.epoch = (epoch, batch), 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.place:
            raise Interrupted


def train(file, interrupt=None):
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(8),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5),  # whose random state goes along
            keras.layers.Dense(3),
        ]
    )
    history, seconds = fit(
        model,
        Batches(X, Y, batch_size=8, seed=3),
        (X, Y),
        epochs=EPOCHS,
        learning_rate=0.1,
        callbacks=[Interrupt(*interrupt)] if interrupt else [],
        snapshot=Snapshot(file),
    )
    assert seconds > 0
    return model, history


def test_interrupted_runs_are_the_undisturbed_one(tmp_path):
    whole, history = train(tmp_path / "whole.npz")
    file = tmp_path / "parts.npz"
    for place in ((0, 1), (1, 0), (1, 2), (3, 1)):
        with pytest.raises(Interrupted):
            train(file, place)
    model, again = train(file)
    assert again == history
    assert {len(values) for values in again.values()} == {EPOCHS}
    for one, other in zip(whole.variables, model.variables, strict=True):
        np.testing.assert_array_equal(one, other)
    # Nothing is left to do.
    model, again = train(file)
    assert again == history
    np.testing.assert_array_equal(model.get_weights()[0], whole.get_weights()[0])


@pytest.mark.wrong_input
def test_another_model(tmp_path):
    train(tmp_path / "one.npz")
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    before = [w.copy() for w in model.get_weights()]
    with pytest.raises(ValueError, match="must be of the same model"):
        fit(
            model,
            Batches(X, Y, batch_size=8),
            None,
            epochs=1,
            learning_rate=0.1,
            snapshot=Snapshot(tmp_path / "one.npz"),
        )
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
