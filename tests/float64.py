"""Float64 models that are float64 all through."""

import contextlib

import keras

from keras_kd.keras_internals import float64_rounding


@contextlib.contextmanager
def float64_scope():
    """Inside, Keras makes and runs float64 models.

    On JAX and PyTorch, most operations of Keras (`matmul`, `tanh`, `var`, ...) make
    float32 of float64, by this table.
    """
    double = contextlib.nullcontext()
    if keras.backend.backend() == "jax":
        import jax

        if hasattr(jax, "enable_x64"):
            double = jax.enable_x64(True)
        else:
            from jax.experimental import enable_x64

            double = enable_x64()
    table = float64_rounding()
    rounded = table["float64"]
    floatx, policy = keras.config.floatx(), keras.config.dtype_policy()
    with double:
        table["float64"] = "float64"
        keras.config.set_floatx("float64")
        keras.config.set_dtype_policy("float64")
        try:
            yield
        finally:
            table["float64"] = rounded
            keras.config.set_floatx(floatx)
            keras.config.set_dtype_policy(policy)
