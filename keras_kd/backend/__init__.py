"""All that differs between TensorFlow, JAX and PyTorch: one file each, alike inside."""

import importlib

import keras

if keras.backend.backend() not in ("tensorflow", "jax", "torch"):
    raise ImportError(
        "keras_kd runs on the Keras backends tensorflow, jax and torch. "
        f"Received: KERAS_BACKEND={keras.backend.backend()}"
    )

_backend = importlib.import_module(f"keras_kd.backend.{keras.backend.backend()}")

SLOW_MAX_POOLING_GRADIENT = _backend.SLOW_MAX_POOLING_GRADIENT
WeightAverage = _backend.WeightAverage
call_with_state = _backend.call_with_state
compile_capture = _backend.compile_capture
compile_forward = _backend.compile_forward
compile_gradients = _backend.compile_gradients
enable_op_determinism = _backend.enable_op_determinism
full_precision = _backend.full_precision
leaves_tensors = _backend.leaves_tensors
local_devices = _backend.local_devices
per_example_gradients = _backend.per_example_gradients
put = _backend.put
random_state = _backend.random_state
replica_count = _backend.replica_count
set_random_state = _backend.set_random_state
split_teacher_state = _backend.split_teacher_state
supervised_test_function = _backend.supervised_test_function
supervised_train_function = _backend.supervised_train_function
without_gradients = _backend.without_gradients
to_numpy = _backend.to_numpy
trace_scope = _backend.trace_scope

__all__ = [
    "SLOW_MAX_POOLING_GRADIENT",
    "WeightAverage",
    "call_with_state",
    "compile_capture",
    "compile_forward",
    "compile_gradients",
    "enable_op_determinism",
    "full_precision",
    "leaves_tensors",
    "local_devices",
    "per_example_gradients",
    "put",
    "random_state",
    "replica_count",
    "set_random_state",
    "split_teacher_state",
    "supervised_test_function",
    "supervised_train_function",
    "to_numpy",
    "trace_scope",
    "without_gradients",
]
