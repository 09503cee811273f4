"""Every test starts from the same seed; the backend comes from KERAS_BACKEND."""

import gc
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
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


def pytest_collection_finish():
    gc.freeze()


@pytest.fixture(autouse=True, scope="module")
def nothing_is_looked_through_twice():
    """Keras collects garbage where a variable is deleted, as Python does now and then.

    Beside all that a thousand tests have left for good in one process, that takes
    longer than they do: what is still there after a file of tests is set apart.
    """
    yield
    gc.collect()
    gc.freeze()


# What trains, and the large networks, are compiled on JAX as they are for a user. Most
# of the time that the others took went into optimisations of what runs once.
OPTIMISED = ("backend", "callbacks", "distiller", "models", "saved_files")


@pytest.fixture(autouse=True)
def compilation(request):
    """On JAX, without most of XLA's optimisations unless the test is to have them."""
    if keras.backend.backend() != "jax":
        yield
        return
    import jax

    folder = request.path.relative_to(request.config.rootpath / "tests").parts[0]
    optimised = folder in OPTIMISED or request.node.get_closest_marker("optimised")
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", not optimised)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture(autouse=True)
def seed():
    keras.utils.set_random_seed(0)
    yield
    # Not its garbage collection, which costs more than many a test.
    keras.backend.clear_session(free_memory=False)
