"""JAX: the teacher's values travel beside each batch.

`fit` compiles the step with the model's state as a donated argument and holds that
state outside the variables. The teacher is none of that state: its arrays are passed
with the batch, not donated, and read afresh for every step. So a swap is an ordinary
assignment to the teacher's variables, with no state to synchronise.
"""

from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np


def replica_count() -> int:
    """The number of replicas whose losses and gradients are summed."""
    return 1


class _WithTeacher:
    """Batches, each joined by the teacher's values at the moment it is drawn."""

    def __init__(self, batches, teacher_values):
        self._batches = iter(batches)
        self._teacher_values = teacher_values

    def __iter__(self):
        return self

    def __next__(self):
        batch = next(self._batches)
        return self._teacher_values(), batch


class DistillationTrainer(keras.Model):
    """`train_step` and `test_step` that ask the teacher before Keras's own step."""

    train_function: Any
    test_function: Any

    def train_step(self, state, data):
        teacher_values, batch = data
        supervision = self.supervise(batch, teacher_values)
        with self.distillation_step(supervision, training=True):
            return super().train_step(state, batch)

    def test_step(self, state, data):
        teacher_values, batch = data
        supervision = self.supervise(batch, teacher_values)
        with self.distillation_step(supervision, training=False):
            return super().test_step(state, batch)

    def make_train_function(self, force=False):
        if self.train_function is not None and not force:
            return
        super().make_train_function(force=force)
        step = self.train_function

        def train_function(state, iterator):
            try:
                batches = _WithTeacher(iterator, self.teacher_values)
                logs, state = step(state, batches)
                self.check_first_execution(logs)
                return logs, state
            except StopIteration:
                raise
            except BaseException:
                self._restore(state)
                raise

        self.train_function = train_function

    def make_test_function(self, force=False):
        if self.test_function is not None and not force:
            return
        super().make_test_function(force=force)
        step = self.test_function
        self.test_function = lambda state, iterator: step(
            state, _WithTeacher(iterator, self.teacher_values)
        )

    def _restore(self, state):
        """Puts back the values that `fit` took out of the variables.

        A step that fails while it is traced has not consumed them yet; without this
        the student would be left without weights.
        """
        variables = (
            self.trainable_variables,
            self.non_trainable_variables,
            self.optimizer.variables,
            self.metrics_variables,
        )
        for group, values in zip(variables, state, strict=True):
            for variable, value in zip(group, values, strict=False):
                if not value.is_deleted():
                    variable.assign(value)


class WeightAverage:
    """Exponential moving averages of variables' values, all updated in one call.

    Args:
        variables: Keras variables of floating dtype, holding their values (after
            `jax_state_sync`) whenever `update` is called.
        values: the averages to begin with, NumPy arrays, copied.
    """

    def __init__(self, variables, values):
        self._variables = variables
        self._averages = [jnp.array(value) for value in values]

    def update(self, decay: float) -> None:
        """`average = decay * average + (1 - decay) * value`, for every variable."""
        values = [variable.value for variable in self._variables]
        self._averages = _interpolate(self._averages, values, 1.0 - decay)

    def numpy(self) -> list[np.ndarray]:
        """The averages, in the order of the variables."""
        return [np.array(average) for average in self._averages]


@jax.jit
def _interpolate(starts, ends, weight):
    return [a + (b.astype(a.dtype) - a) * weight for a, b in zip(starts, ends)]  # noqa: B905
