"""Tiny teachers, tiny data, and witnesses that do not rely on what is tested."""

import keras
import numpy as np


def make_teacher(units=4, classes=3):
    """Kernels, biases, batch statistics, a seed generator: all kinds of state."""
    return keras.Sequential(
        [
            keras.Input((5,)),
            keras.layers.Dense(units, name="hidden"),
            keras.layers.BatchNormalization(name="norm", momentum=0.9),
            keras.layers.Dropout(0.2, name="drop"),
            keras.layers.Dense(classes, name="logits"),
        ],
        name="teacher",
    )


def make_data(batches=5, batch_size=4):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(batches * batch_size, 5)).astype("float32")
    return x, rng.integers(0, 3, len(x))


def compiled(model, **kwargs):
    model.compile(
        optimizer=keras.optimizers.Adam(0.05),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        **kwargs,
    )
    return model


def train_by_hand(model, *callbacks, epochs, steps=3, initial_epoch=0):
    """The calls that `fit` makes, without its cost: each batch moves the weights."""
    callbacks = keras.callbacks.CallbackList(
        list(callbacks), model=model, epochs=epochs, steps=steps
    )
    callbacks.on_train_begin()
    for epoch in range(initial_epoch, epochs):
        callbacks.on_epoch_begin(epoch)
        for batch in range(steps):
            callbacks.on_train_batch_begin(batch)
            for variable in model.weights:
                variable.assign(variable + 1 / 64)
            callbacks.on_train_batch_end(batch, {})
        callbacks.on_epoch_end(epoch, {"loss": 1 / (1 + epoch)})
    callbacks.on_train_end()


class Witness(keras.callbacks.Callback):
    """Keeps the model's weights after every batch, by Keras's plainest means."""

    def __init__(self):
        super().__init__()
        self.weights = []
        self.logs = []

    def on_train_begin(self, logs=None):
        if not self.weights:
            self.weights.append(self.model.get_weights())  # as at step 0

    def on_train_batch_end(self, batch, logs=None):
        self.weights.append(self.model.get_weights())

    def on_epoch_end(self, epoch, logs=None):
        self.logs.append(dict(logs))


class Crash(keras.callbacks.Callback):
    """Ends training at the beginning of an epoch, as a fault would."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise KeyboardInterrupt


def same(a, b):
    return len(a) == len(b) and all(map(np.array_equal, a, b))
