"""All that differs between TensorFlow, JAX and PyTorch: one file each, alike inside."""

import importlib

import keras

if keras.backend.backend() not in ("tensorflow", "jax", "torch"):
    raise ImportError(
        "keras_kd runs on the Keras backends tensorflow, jax and torch. "
        f"Received: KERAS_BACKEND={keras.backend.backend()}"
    )

_backend = importlib.import_module(f"keras_kd.backend.{keras.backend.backend()}")

DistillationTrainer = _backend.DistillationTrainer
WeightAverage = _backend.WeightAverage
replica_count = _backend.replica_count

__all__ = ["DistillationTrainer", "WeightAverage", "replica_count"]
