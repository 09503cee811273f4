"""PyTorch: the teacher runs eagerly, without recording gradients."""

from typing import Any

import keras
import numpy as np
import torch


def replica_count() -> int:
    """The number of replicas whose losses and gradients are summed."""
    return 1


class DistillationTrainer(keras.Model):
    """`train_step` and `test_step` that ask the teacher before Keras's own step."""

    train_function: Any

    def train_step(self, data):
        # `no_grad` and not `inference_mode`, whose tensors the student's backward
        # pass could not keep.
        with torch.no_grad():
            supervision = self.supervise(data)
        with self.distillation_step(supervision, training=True):
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
        self._variables = variables
        self._averages = [
            torch.tensor(value, device=variable.value.device)
            for variable, value in zip(variables, values, strict=True)
        ]

    @torch.no_grad()
    def update(self, decay: float) -> None:
        """`average = decay * average + (1 - decay) * value`, for every variable."""
        values = [
            variable.value.to(average.dtype)
            for variable, average in zip(self._variables, self._averages, strict=True)
        ]
        torch._foreach_lerp_(self._averages, values, 1.0 - decay)

    def numpy(self) -> list[np.ndarray]:
        """The averages, in the order of the variables."""
        return [average.cpu().numpy().copy() for average in self._averages]
