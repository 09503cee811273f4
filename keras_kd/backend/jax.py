"""JAX: the teacher's values travel beside each batch.

`fit` compiles the step with the model's state as a donated argument and holds that
state outside the variables. The teacher is none of that state: its arrays are passed
with the batch, not donated, and read afresh for every step. So a swap is an ordinary
assignment to the teacher's variables, with no state to synchronise.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import jax
import jax.extend
import jax.numpy as jnp
import keras
import numpy as np

# XLA scatters it, one window after another.
SLOW_MAX_POOLING_GRADIENT = True


def enable_op_determinism() -> None:
    """Nothing to do on CPU and TPU; a GPU needs a flag of XLA before JAX starts."""


def random_state() -> np.ndarray:
    """Nothing: all random state is in the model's variables."""
    return np.empty(0, "uint8")


def set_random_state(state: np.ndarray) -> None:
    """Nothing to go on from."""


def replica_count() -> int:
    """The number of replicas whose losses and gradients are summed."""
    return 1


def full_precision() -> AbstractContextManager[Any]:
    """A context in which float32 products are float32, also on GPU and TPU."""
    context: AbstractContextManager[Any] = jax.default_matmul_precision("highest")
    return context


def trace_scope() -> object:
    """Equal in two places if the same trace runs: not inside a loop or a vmap."""
    state: object = _trace_state(convention="flax")
    return state


# Its place since JAX 0.7, and before.
if hasattr(jax.extend.core, "get_opaque_trace_state"):
    _trace_state = jax.extend.core.get_opaque_trace_state
else:
    _trace_state = jax.core.get_opaque_trace_state


def local_devices() -> list[Any]:
    """Devices that passes over different examples can run on at the same time."""
    return list(jax.local_devices())


def put(values: Any, device: Any) -> Any:
    """A structure of tensors, on a device."""
    return jax.device_put(values, device)


def to_numpy(tensor: Any) -> np.ndarray:
    """Without a copy, where the device's memory is the host's."""
    return np.asarray(tensor)


def compile_forward(
    forward: Callable[[Any, Any, Any], Any],
) -> Callable[[Any, Any, Any], Any]:
    """Compiles `forward(trainable_values, non_trainable_values, inputs)`."""
    compiled: Callable[[Any, Any, Any], Any] = jax.jit(forward)
    return compiled


def leaves_tensors(forward: Callable[[list[Any]], Any], values: Sequence[Any]) -> bool:
    """Whether numbers are taken out of tensors: what is traced has no numbers yet."""
    return False


def compile_gradients(
    forward: Callable[[Any, Any, Any], Any],
) -> Callable[[Any, Any, Any, Any], tuple[Any, list[Any]]]:
    """Compiles the gradient of `sum(cotangents * outputs)` in the trainable values.

    Args:
        forward: `forward(trainable_values, non_trainable_values, inputs)`, the
            outputs `(m, k)`.

    Returns:
        `(trainable_values, non_trainable_values, inputs, cotangents)` to
        `(outputs, gradients)`.
    """

    def gradients(
        trainable: Any, non_trainable: Any, inputs: Any, cotangents: Any
    ) -> tuple[Any, list[Any]]:
        outputs, pullback = jax.vjp(
            lambda t: forward(t, non_trainable, inputs), trainable
        )
        return outputs, pullback(cotangents.astype(outputs.dtype))[0]

    compiled: Callable[..., tuple[Any, list[Any]]] = jax.jit(gradients)
    return compiled


def compile_capture(
    record: Callable[..., tuple[Any, Any]], factors: Callable[..., list[Any]]
) -> Callable[[Any, Any, Any, Any], tuple[Any, list[Any]]]:
    """Compiles one forward pass and, for each cotangent, one backward pass to the taps.

    Args:
        record: `record(trainable_values, non_trainable_values, inputs, tap)`, which
            runs the model with `tap(key, tensor)` in force and returns its outputs
            `(m, k)` and a structure of recorded arrays.
        factors: `factors(trainable_values, non_trainable_values, inputs, recorded,
            cotangents, tapped)` with `tapped` `{key: (q, ...)}`, the gradients of each
            output's sum at the taps; a list of tensors.

    Returns:
        `(trainable_values, non_trainable_values, inputs, cotangents)`, cotangents
        `(q, m, k)`, to `(outputs, list of tensors)`.
    """

    def capture(
        trainable: Any, non_trainable: Any, inputs: Any, cotangents: Any
    ) -> tuple[Any, list[Any]]:
        shapes: dict[str, Any] = {}

        def note(key: str, tensor: Any) -> Any:
            shapes[key] = (tensor.shape, tensor.dtype)
            return tensor

        jax.eval_shape(lambda: record(trainable, non_trainable, inputs, note))
        # Zeros, added at the taps and differentiated with respect to: the compiler
        # takes the additions out again.
        shifts = {key: jnp.zeros(*shape) for key, shape in shapes.items()}

        def shifted(shifts: dict[str, Any]) -> tuple[Any, Any]:
            def tap(key: str, tensor: Any) -> Any:
                return tensor + shifts[key]

            return record(trainable, non_trainable, inputs, tap)

        outputs, pullback, recorded = jax.vjp(shifted, shifts, has_aux=True)
        cotangents = cotangents.astype(outputs.dtype)
        if len(cotangents) == 1:
            tapped = {k: d[None] for k, d in pullback(cotangents[0])[0].items()}
        else:
            tapped = jax.vmap(lambda v: pullback(v)[0])(cotangents)
        tensors = factors(
            trainable, non_trainable, inputs, recorded, cotangents, tapped
        )
        return outputs, tensors

    compiled: Callable[..., tuple[Any, list[Any]]] = jax.jit(capture)
    return compiled


def per_example_gradients(
    function: Callable[[Any, Any], Sequence[Any]],
    values: Sequence[Any],
    inputs: Sequence[Any],
    cotangents: Sequence[Any],
) -> list[Any]:
    """Each example's own gradients, one vector-Jacobian product an output.

    Args:
        function: `function(values, inputs)`, a list of tensors with a leading 1, for
            inputs with a leading 1.
        values: list of tensors to differentiate with respect to.
        inputs: list of tensors `(m, ...)`.
        cotangents: list of tensors `(q, m, ...)`, like the outputs.

    Returns:
        List of tensors `(q, m, *shape)`, like the values.
    """

    def one(example: Sequence[Any], cotangent: Sequence[Any]) -> Any:
        _, pullback = jax.vjp(
            lambda v: function(v, [leaf[None] for leaf in example]), values
        )
        return jax.vmap(lambda c: pullback([leaf[None] for leaf in c])[0])(cotangent)

    found: list[Any] = jax.vmap(one, in_axes=(0, 1), out_axes=1)(inputs, cotangents)
    return found


class _WithTeacher:
    """Batches, each joined by the teacher's values at the moment it is drawn."""

    def __init__(self, batches: Any, teacher_values: Callable[[], Any]):
        self._batches = iter(batches)
        self._teacher_values = teacher_values

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        batch = next(self._batches)
        return self._teacher_values(), batch


def call_with_state(
    model: keras.Model, function: Callable[[Any], Any], inputs: Any, state: list[Any]
) -> tuple[Any, list[Any]]:
    """`function(inputs)` in a step, with its state in the step's.

    Args:
        model: whose step it is.
        function: a layer that the model tracks, or a callable.
        inputs: structure of tensors.
        state: what the step is passed.

    Returns:
        The outputs, and the state with what has moved on.

    Raises:
        ValueError: a variable moves on that the model does not track.
    """
    (trainable, non_trainable, *others), *rest = state
    variables = model.non_trainable_variables
    known = [
        *zip(model.trainable_variables, trainable, strict=True),
        *zip(variables, non_trainable, strict=True),
    ]
    scope = keras.StatelessScope(known)
    with scope:
        outputs = function(inputs)
    if set(scope.state_mapping) - {id(variable) for variable, _ in known}:
        raise ValueError(
            "`augment` must be a layer where it has state: under JAX the same random "
            f"numbers would come in every step. Received: {function!r}, which changes "
            "variables that no layer tracks. Pass the layer itself, or make the "
            "`keras.random.SeedGenerator` an attribute of a layer."
        )
    moved = [scope.get_current_value(variable) for variable in variables]
    return outputs, [(trainable, moved, *others), *rest]


def split_teacher_state(data: Any) -> tuple[Any, Any]:
    """`(state, batch)`, as `supervised_train_function` joined them."""
    state, batch = data
    return state, batch


def without_gradients() -> AbstractContextManager[Any]:
    """A context for what is not differentiated: on JAX that is said otherwise."""
    return contextlib.nullcontext()


def supervised_train_function(
    model: keras.Model,
    step: Callable[[Any, Any], Any],
    teacher_state: Callable[[], Any],
    look_at: Callable[[Any], None],
) -> Callable[[Any, Any], Any]:
    """The compiled step of training, each batch joined by the teacher's state.

    Args:
        model: the one that trains.
        step: as Keras compiled it.
        teacher_state: gives what is passed beside each batch.
        look_at: is called with the logs of each execution.
    """

    def train_function(state: Any, iterator: Any) -> Any:
        try:
            logs, state = step(state, _WithTeacher(iterator, teacher_state))
            look_at(logs)
            return logs, state
        except StopIteration:
            raise
        except BaseException:
            _restore(model, state)
            raise

    return train_function


def supervised_test_function(
    model: keras.Model,
    step: Callable[[Any, Any], Any],
    teacher_state: Callable[[], Any],
) -> Callable[[Any, Any], Any]:
    """The compiled step of evaluation, each batch joined by the teacher's state."""
    return lambda state, iterator: step(state, _WithTeacher(iterator, teacher_state))


def _restore(model: keras.Model, state: Any) -> None:
    """Puts back the values that `fit` took out of the variables.

    A step that fails while it is traced has not consumed them yet; without this the
    student would be left without weights.
    """
    variables = (
        model.trainable_variables,
        model.non_trainable_variables,
        model.optimizer.variables,
        model.metrics_variables,
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

    def __init__(
        self, variables: Sequence[keras.Variable], values: Sequence[np.ndarray]
    ):
        self._variables = variables
        self._averages = [jnp.array(value) for value in values]

    def update(self, decay: float) -> None:
        """`average = decay * average + (1 - decay) * value`, for every variable."""
        values = [variable.value for variable in self._variables]
        self._averages = _interpolate(self._averages, values, 1.0 - decay)

    def numpy(self) -> list[np.ndarray]:
        """The averages, in the order of the variables."""
        return [np.array(average) for average in self._averages]


def _interpolated(starts: list[Any], ends: list[Any], weight: Any) -> list[Any]:
    return [a + (b.astype(a.dtype) - a) * weight for a, b in zip(starts, ends)]  # noqa: B905


_interpolate = jax.jit(_interpolated)
