"""Inputs, gradients and oracles' wrappers that the tests of the losses share."""

import keras
import numpy as np
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

properties = settings(max_examples=12, deadline=None, derandomize=True)


def normal(*shape, seed=0, scale=2.0):
    return (scale * np.random.default_rng(seed).normal(size=shape)).astype("float32")


def tables(rows=6, columns=4, bound=10.0):
    """Float32 tables of one shape, so that every backend compiles once."""
    elements = st.floats(-bound, bound, width=32)
    return arrays(np.float32, (rows, columns), elements=elements)


def weights(n=6):
    return arrays(np.float32, (n,), elements=st.floats(0.0, 4.0, width=32))


def value(x):
    return np.asarray(keras.ops.convert_to_numpy(x), "float64")


def gradient(function, x):
    """The gradient of a scalar function at `x`, as an array."""
    x = keras.ops.convert_to_tensor(x)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
        return value(tape.gradient(y, x))
    if keras.backend.backend() == "jax":
        import jax

        return value(jax.grad(function)(x))
    x = x.detach().clone().requires_grad_(True)
    function(x).backward()
    return value(x.grad)


def of_torchdistill(loss, teacher, student):
    """A torchdistill loss, made for paths "t" and "s", on these arrays in float64."""
    teacher, student = (torch.from_numpy(np.float64(a)) for a in (teacher, student))
    return float(loss({"s": {"output": student}}, {"t": {"output": teacher}}))


def softmax(z):
    z = np.float64(z)
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)
