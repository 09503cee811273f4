"""TensorFlow: the teacher's variables are captured by the compiled step."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf


def replica_count() -> int:
    """The number of replicas whose losses and gradients are summed."""
    return tf.distribute.get_strategy().num_replicas_in_sync


class DistillationTrainer(keras.Model):
    """`train_step` and `test_step` that ask the teacher before Keras's own step.

    The teacher runs before the gradient tape opens; its variables are read where they
    lie, so assigning them is a swap, without retracing.
    """

    train_function: Any

    def train_step(self, data):
        with self.distillation_step(self.supervise(data), training=True):
            return super().train_step(data)

    def test_step(self, data):
        with self.distillation_step(self.supervise(data), training=False):
            return super().test_step(data)

    def make_train_function(self, force=False):
        if self.train_function is not None and not force:
            return
        super().make_train_function(force=force)
        step = self.train_function

        def train_function(iterator):
            logs = step(iterator)
            self.check_first_execution(logs)
            return logs

        self.train_function = train_function


class WeightAverage:
    """Exponential moving averages of variables' values, all updated in one call.

    Args:
        variables: Keras variables of floating dtype.
        values: the averages to begin with, NumPy arrays, copied.
    """

    def __init__(self, variables, values):
        averages = [tf.Variable(value, trainable=False) for value in values]

        # Variables that a function captures cost a third of those it is passed.
        @tf.function
        def update(weight):
            for average, variable in zip(averages, variables, strict=True):
                value = tf.cast(variable.value, average.dtype)
                step = tf.cast(weight, average.dtype) * (value - average)
                average.assign_add(step)

        self._averages = averages
        self._update = update

    def update(self, decay: float) -> None:
        """`average = decay * average + (1 - decay) * value`, for every variable."""
        self._update(tf.constant(1.0 - decay, tf.float64))

    def numpy(self) -> list[np.ndarray]:
        """The averages, in the order of the variables."""
        return [average.numpy() for average in self._averages]
