"""A student whose kernel is known, teachers for it, and what the report should say."""

import dataclasses
import functools

import keras
import numpy as np
from sklearn.kernel_ridge import KernelRidge

N, HELD = 60, np.arange(3, 60, 4)
FIT = np.setdiff1d(np.arange(N), HELD)


def data(classes=3):
    rng = np.random.default_rng(0)
    y = rng.integers(0, classes, N)
    x = rng.standard_normal((N, 4)) + 1.5 * np.eye(4)[y]
    return x.astype("float32"), y


@functools.cache
def linear_student(classes=3):
    """Its kernel is known: `x x^T + 1`, for each output. Nothing changes it."""
    return keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(classes)], name="linear"
    )


def known_kernel(x):
    x = x.astype(float)
    return x @ x.T + 1


def teacher_model(seed=0, activation=None, classes=3):
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(6, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(classes, activation=activation),
        ],
        name="mlp",
    )


def some_logits(seed=0, classes=3, scale=3.0):
    return scale * np.random.default_rng(seed).standard_normal((N, classes))


def values(row):
    """A row without its names, as a list of numbers."""
    flat = dataclasses.asdict(row)
    del flat["teacher"], flat["step"], flat["bound"]
    return [-1.0 if v is None else v for v in [*flat.values(), row.bound_total]]


def assert_same_rows(rows, others, rtol=1e-5):
    np.testing.assert_allclose(
        [values(row) for row in rows], [values(row) for row in others], rtol=rtol
    )


def brute_force(kernel, y, ridge):
    """Complexity, held-out predictions and relative leave-one-out error."""
    n = len(FIT)
    k, targets = kernel[np.ix_(FIT, FIT)], y[FIT]
    inverse = np.linalg.inv(k + ridge * np.eye(n))
    complexity = np.sqrt(np.trace(targets.T @ inverse @ targets) * np.trace(k)) / n

    def machine(rows, columns, of):
        model = KernelRidge(alpha=ridge, kernel="precomputed")
        model.fit(kernel[np.ix_(rows, rows)], y[rows])
        return model.predict(kernel[np.ix_(of, columns)])

    left = np.concatenate(
        [machine(np.setdiff1d(FIT, i), np.setdiff1d(FIT, i), [i]) for i in FIT]
    ).reshape(targets.shape)
    error = np.sum((left - targets) ** 2) / np.sum(targets**2)
    return complexity, machine(FIT, FIT, HELD), error
