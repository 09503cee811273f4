"""Every test starts from the same seed; the backend comes from KERAS_BACKEND."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# For JAX: every model here is small, and its compilation costs more than it saves.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
# Two devices on every machine, for the tests of distributed training.
os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=2")

import keras
import pytest

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration()] * 2,
    )


@pytest.fixture(autouse=True)
def seed():
    keras.utils.set_random_seed(0)
    yield
    # Not its garbage collection, which costs more than many a test.
    keras.backend.clear_session(free_memory=False)
