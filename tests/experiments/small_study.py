"""A study of seconds, who watches it, and what is the same when it is run again."""

import keras

from keras_kd.experiments import RECIPES, Recipe

SMALL = {
    "data.n_train": "48",
    "data.n_validation": "16",
    "data.n_test": "32",
    "batch_size": "16",
    "epochs": "2",
    "teacher_epochs": "4",
    "teacher": "lenet5:0.4",
    "students": "lenet5:0.2",
    "assistant": "lenet5:0.3",
    "learning_rates": "0.05",
    "temperatures": "4",
    "ntk_images": "0",
    "seeds": "1",
}


def small(name="digits", **changes) -> Recipe:
    return RECIPES[name].with_settings(SMALL | changes)


class Watch:
    """Counts trainings; interrupts one."""

    def __init__(self, interrupt=None):
        self.labels, self.done, self.interrupt = [], [], interrupt

    def training(self, label, epochs):
        self.labels.append(label)
        return keras.callbacks.LambdaCallback(on_epoch_end=self.on_epoch_end)

    def on_epoch_end(self, epoch, logs):
        if self.interrupt == (len(self.labels), epoch):
            raise KeyboardInterrupt

    def finished(self, done, cells, record):
        self.done.append((done, cells))


def numbers(records):
    """What a run gives, without the time that it took."""
    return [{k: v for k, v in r.items() if k != "seconds"} for r in records]
