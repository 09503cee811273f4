"""The Jacobian of a model by plain automatic differentiation.

One example at a time, the outputs of each one after another, the whole model at once.
It shares no code with the library.
"""

import inspect

import keras
import numpy as np


def jacobian(model, x, variables=None) -> np.ndarray:
    """The gradient of every output with respect to the trainable weights.

    Args:
        model: a built model with one output.
        x: NumPy array, or a structure of them, with `n` examples.
        variables: of `model.trainable_variables`, those to differentiate by.

    Returns:
        `(n, k, P)`, float64; outputs of rank above 2 are flattened.
    """
    takes_training = "training" in inspect.signature(model.call).parameters
    kwargs = {"training": False} if takes_training else {}
    rows = _ROWS[keras.backend.backend()](model, kwargs)
    places = [i for i, v in enumerate(model.trainable_variables)]
    if variables is not None:
        wanted = {id(v) for v in variables}
        places = [i for i in places if id(model.trainable_variables[i]) in wanted]
    n = len(keras.tree.flatten(x)[0])
    found = []
    for i in range(n):
        one = keras.tree.map_structure(lambda leaf, i=i: leaf[i : i + 1], x)
        by_variable = rows(keras.tree.map_structure(keras.ops.convert_to_tensor, one))
        found.append(np.concatenate([by_variable[p] for p in places], axis=1))
    return np.stack(found)


def _jax_rows(model, kwargs):
    import jax

    def outputs(trainable, non_trainable, one):
        return model.stateless_call(trainable, non_trainable, one, **kwargs)[0].ravel()

    differentiate = jax.jit(jax.jacrev(outputs))

    def rows(one):
        found = differentiate(
            [v.value for v in model.trainable_variables],
            [v.value for v in model.non_trainable_variables],
            one,
        )
        return [np.asarray(j, "float64").reshape(len(j), -1) for j in found]

    return rows


def _tensorflow_rows(model, kwargs):
    import tensorflow as tf

    def rows(one):
        weights = [v.value for v in model.trainable_variables]
        with tf.GradientTape(persistent=True) as tape:
            y = tf.reshape(model(one, **kwargs), [-1])
            outputs = tf.unstack(y)
        found = [
            tape.gradient(output, weights, unconnected_gradients="zero")
            for output in outputs
        ]
        return [
            np.stack([tf.convert_to_tensor(row[p]).numpy().ravel() for row in found])
            for p in range(len(weights))
        ]

    return rows


def _torch_rows(model, kwargs):
    import torch

    def rows(one):
        weights = [v.value for v in model.trainable_variables]
        with torch.enable_grad():
            y = model(one, **kwargs).reshape(-1)
        found = [
            torch.autograd.grad(output, weights, retain_graph=True, allow_unused=True)
            if output.requires_grad
            else [None] * len(weights)
            for output in y
        ]
        return [
            np.stack(
                [
                    np.zeros(weight.numel())
                    if row[p] is None
                    else row[p].detach().cpu().double().numpy().ravel()
                    for row in found
                ]
            )
            for p, weight in enumerate(weights)
        ]

    return rows


_ROWS = {"jax": _jax_rows, "tensorflow": _tensorflow_rows, "torch": _torch_rows}


def kernel(j1, j2=None, outputs="trace") -> np.ndarray:
    """The neural tangent kernel, from Jacobians `(n, k, P)`.

    Args:
        j1: of the rows.
        j2: of the columns, by default `j1`.
        outputs: as in `keras_kd.ntk.empirical_ntk`.
    """
    j2 = j1 if j2 is None else j2
    full = np.tensordot(j1, j2, (2, 2)).transpose(0, 2, 1, 3)
    k = full.shape[-1]
    if isinstance(outputs, str):
        if outputs == "full":
            return full
        if outputs == "per_output":
            return np.einsum("ijaa->ija", full)
        if outputs == "trace":
            return np.einsum("ijaa->ij", full)
        assert outputs == "pseudo"
        vector = np.full(k, k**-0.5)
    elif isinstance(outputs, int):
        vector = np.eye(k)[outputs]
    else:
        vector = np.asarray(outputs)
    return np.einsum("ijab,a,b->ij", full, vector, vector)
