"""TensorFlow: the teacher's variables are captured by the compiled step."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_kd.keras_internals import build_symbolically, labels_are_new

SLOW_MAX_POOLING_GRADIENT = False


def enable_op_determinism() -> None:
    """Makes every operation of this process give the same bits each time."""
    tf.config.experimental.enable_op_determinism()


def random_state() -> np.ndarray:
    """Nothing: all random state is in the model's variables."""
    return np.empty(0, "uint8")


def set_random_state(state: np.ndarray) -> None:
    """Nothing to go on from."""


def replica_count() -> int:
    """The number of replicas whose losses and gradients are summed."""
    count: int = tf.distribute.get_strategy().num_replicas_in_sync
    return count


@contextlib.contextmanager
def full_precision() -> Iterator[None]:
    """A context in which float32 products are float32, also on a GPU."""
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)


def trace_scope() -> object:
    """Equal in two places if the same graph is built: not inside a loop or a map."""
    return None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()


def local_devices() -> list[Any]:
    """Where passes run: TensorFlow starts them one after another."""
    return [None]


def put(values: Any, device: Any) -> Any:
    """A structure of tensors, on a device: where it is."""
    return values


def to_numpy(tensor: Any) -> np.ndarray:
    """Without a copy, where the device's memory is the host's."""
    array: np.ndarray = tensor.numpy()
    return array


def _traced_once_a_shape(function: Callable[..., Any]) -> Callable[..., Any]:
    """`tf.function` for calls that differ in shapes alone, as they are meant to.

    Of many traces of one function TensorFlow would warn.
    """
    compiled = tf.function(function, autograph=False)
    traces: dict[str, Any] = {}

    def call(*args: Any) -> Any:
        args = tf.nest.map_structure(tf.convert_to_tensor, args)
        shapes = tf.nest.map_structure(lambda x: (*x.shape, x.dtype.name), args)
        key = repr(shapes)
        if key not in traces:
            traces[key] = compiled.get_concrete_function(*args)
        return traces[key](*args)

    return call


def compile_forward(
    forward: Callable[[Any, Any, Any], Any],
) -> Callable[[Any, Any, Any], Any]:
    """Compiles `forward(trainable_values, non_trainable_values, inputs)`.

    The values are not passed on: variables are read where they lie.
    """
    function = _traced_once_a_shape(lambda inputs: forward(None, None, inputs))
    return lambda trainable, non_trainable, inputs: function(inputs)


def leaves_tensors(forward: Callable[[list[Any]], Any], values: Sequence[Any]) -> bool:
    """Whether numbers are taken out of tensors: in a graph there are no numbers yet."""
    return False


def compile_gradients(
    forward: Callable[[Any, Any, Any], Any],
) -> Callable[[Any, Any, Any, Any], tuple[Any, list[Any]]]:
    """Compiles the gradient of `sum(cotangents * outputs)` in the trainable values.

    Args:
        forward: `forward(trainable_values, non_trainable_values, inputs)`, the
            outputs `(m, k)`.

    Returns:
        `(trainable_variables, non_trainable_variables, inputs, cotangents)` to
        `(outputs, gradients)`.
    """

    variables: list[tf.Variable] = []

    @_traced_once_a_shape
    def gradients(inputs: Any, cotangents: Any) -> tuple[Any, list[Any]]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            outputs = forward(None, None, inputs)
        found = tape.gradient(
            outputs,
            variables,
            tf.cast(cotangents, outputs.dtype),
            unconnected_gradients="zero",
        )
        # Those of embeddings come as slices.
        return outputs, [tf.convert_to_tensor(gradient) for gradient in found]

    def compute(
        trainable: Any, non_trainable: Any, inputs: Any, cotangents: Any
    ) -> tuple[Any, list[Any]]:
        variables[:] = trainable
        outputs, found = gradients(inputs, tf.convert_to_tensor(cotangents))
        return outputs, found

    return compute


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
        `(trainable_variables, non_trainable_variables, inputs, cotangents)`,
        cotangents `(q, m, k)`, to `(outputs, list of tensors)`.
    """

    @_traced_once_a_shape
    def captured(inputs: Any, cotangents: Any) -> tuple[Any, list[Any]]:
        taps: dict[str, Any] = {}
        tape = tf.GradientTape(persistent=True, watch_accessed_variables=False)

        def tap(key: str, tensor: Any) -> Any:
            # A copy: another tap may lie downstream of the original alone.
            tensor = tf.identity(tensor)
            tape.watch(tensor)
            taps[key] = tensor
            return tensor

        with tape:
            outputs, recorded = record(None, None, inputs, tap)
        cotangents = tf.cast(cotangents, outputs.dtype)
        rows = [
            tape.gradient(outputs, list(taps.values()), c, unconnected_gradients="zero")
            for c in tf.unstack(cotangents)
        ]
        tapped = {key: tf.stack([row[i] for row in rows]) for i, key in enumerate(taps)}
        return outputs, factors(None, None, inputs, recorded, cotangents, tapped)

    def capture(
        trainable: Any, non_trainable: Any, inputs: Any, cotangents: Any
    ) -> tuple[Any, list[Any]]:
        outputs, tensors = captured(inputs, tf.convert_to_tensor(cotangents))
        return outputs, tensors

    return capture


def per_example_gradients(
    function: Callable[[Any, Any], Sequence[Any]],
    values: Sequence[Any],
    inputs: Sequence[Any],
    cotangents: Sequence[Any],
) -> list[Any]:
    """Each example's own gradients, one vector-Jacobian product an output.

    A loop over the examples: vectorised maps fail on the gradients of grouped
    convolutions, recurrent layers and attention.

    Args:
        function: `function(values, inputs)`, a list of tensors with a leading 1, for
            inputs with a leading 1.
        values: list of tensors to differentiate with respect to.
        inputs: list of tensors `(m, ...)`.
        cotangents: list of tensors `(q, m, ...)`, like the outputs.

    Returns:
        List of tensors `(q, m, *shape)`, like the values.
    """
    values = [tf.convert_to_tensor(value) for value in values]
    q = cotangents[0].shape[0]

    def one(example: tuple[Any, Any]) -> list[Any]:
        leaves, cotangent = example
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            tape.watch(values)
            outputs = function(values, [leaf[None] for leaf in leaves])
        rows = [
            tape.gradient(
                outputs,
                values,
                output_gradients=[c[o][None] for c in cotangent],
                unconnected_gradients="zero",
            )
            for o in range(q)
        ]
        return [
            tf.stack([tf.convert_to_tensor(row[i]) for row in rows])
            for i in range(len(values))
        ]

    by_example = [tf.experimental.numpy.moveaxis(c, 1, 0) for c in cotangents]
    found = tf.map_fn(
        one,
        (inputs, by_example),
        fn_output_signature=[
            tf.TensorSpec((q, *value.shape), value.dtype) for value in values
        ],
    )
    return [tf.experimental.numpy.moveaxis(gradient, 0, 1) for gradient in found]


def call_with_state(
    model: keras.Model, function: Callable[[Any], Any], inputs: Any, state: list[Any]
) -> tuple[Any, list[Any]]:
    """`function(inputs)` in a step; its state is in its variables.

    Args:
        model: whose step it is.
        function: a layer that the model tracks, or a callable.
        inputs: structure of tensors.
        state: is passed to no step here.

    Returns:
        The outputs, and `state`.
    """
    return function(inputs), state


def split_teacher_state(data: Any) -> tuple[None, Any]:
    """`(state, batch)`: the teacher's variables are read where they lie."""
    return None, data


def without_gradients() -> AbstractContextManager[Any]:
    """A context for what is not differentiated: the tape opens after it."""
    return contextlib.nullcontext()


def supervised_train_function(
    model: keras.Model,
    step: Callable[[Any], Any],
    teacher_state: Callable[[], Any],
    look_at: Callable[[Any], None],
) -> Callable[[Any], Any]:
    """The compiled step of training, whose logs are looked at.

    Args:
        model: the one that trains.
        step: as Keras compiled it.
        teacher_state: gives what is passed beside each batch: here nothing.
        look_at: is called with the logs of each execution.
    """

    step = _AfterTheFirst(model, step)

    def train_function(iterator: Any) -> Any:
        logs = step(iterator)
        look_at(logs)
        return logs

    return train_function


def supervised_test_function(
    model: keras.Model,
    step: Callable[[Any], Any],
    teacher_state: Callable[[], Any],
) -> Callable[[Any], Any]:
    """The compiled step of evaluation."""
    return _AfterTheFirst(model, step)


class _AfterTheFirst:
    """A compiled step, before whose later calls all variables are made that it needs.

    A `tf.function` makes variables in its first trace alone. Labels that come later
    need those of their loss and metrics.

    Args:
        model: whose step it is.
        step: as Keras compiled it.
    """

    def __init__(self, model: keras.Model, step: Callable[[Any], Any]):
        self._model, self._step = model, step
        self._is_first = True

    def __call__(self, batches: Any) -> Any:
        if not self._is_first and labels_are_new(self._model):
            batches = _ready_for(self._model, batches)
        self._is_first = False
        return self._step(batches)


def _ready_for(model: keras.Model, batches: Any) -> Any:
    """Batches, once all variables that steps on them need have been made."""
    if hasattr(batches, "element_spec"):
        batch = batches.element_spec
    else:  # one, of `train_on_batch`
        batch = next(batches)
        batches = iter([batch])
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
    if y is not None:
        build_symbolically(
            model, tf.nest.map_structure(_symbolic, (x, y, sample_weight))
        )
    return batches


def _symbolic(leaf: Any) -> Any:
    if leaf is None:
        return None
    spec = leaf if hasattr(leaf, "dtype") else np.asarray(leaf)
    shape = tuple(spec.shape)
    return keras.KerasTensor(shape, keras.backend.standardize_dtype(spec.dtype))


class WeightAverage:
    """Exponential moving averages of variables' values, all updated in one call.

    Args:
        variables: Keras variables of floating dtype.
        values: the averages to begin with, NumPy arrays, copied.
    """

    def __init__(
        self, variables: Sequence[keras.Variable], values: Sequence[np.ndarray]
    ):
        averages = [tf.Variable(value, trainable=False) for value in values]

        # Variables that a function captures cost a third of those it is passed.
        def update(weight: Any) -> None:
            for average, variable in zip(averages, variables, strict=True):
                value = tf.cast(variable.value, average.dtype)
                step = tf.cast(weight, average.dtype) * (value - average)
                average.assign_add(step)

        self._averages = averages
        self._update = tf.function(update)

    def update(self, decay: float) -> None:
        """`average = decay * average + (1 - decay) * value`, for every variable."""
        self._update(tf.constant(1.0 - decay, tf.float64))

    def numpy(self) -> list[np.ndarray]:
        """The averages, in the order of the variables."""
        return [average.numpy() for average in self._averages]
