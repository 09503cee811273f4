"""All that differs between TensorFlow, JAX and PyTorch: one file each, alike inside."""

import keras

match keras.backend.backend():
    case "tensorflow":
        from keras_kd.backend.tensorflow import (
            DistillationTrainer,
            replica_count,
        )
    case "jax":
        from keras_kd.backend.jax import (
            DistillationTrainer,
            replica_count,
        )
    case "torch":
        from keras_kd.backend.torch import (
            DistillationTrainer,
            replica_count,
        )
    case other:
        raise ImportError(
            "keras_kd runs on the Keras backends tensorflow, jax and torch. "
            f"Received: KERAS_BACKEND={other}"
        )

__all__ = ["DistillationTrainer", "replica_count"]
