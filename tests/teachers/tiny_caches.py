"""Tiny caches and distillers, and what a distiller's loss receives from them."""

import keras
import numpy as np

from keras_kd import Distiller, SupervisionCache
from keras_kd.losses import SoftTargets

BACKEND = keras.backend.backend()
CLASSES = 4
BATCH = 8


def network(hidden=8, name=None):
    return keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(hidden, activation="relu", name="hidden"),
            keras.layers.Dense(CLASSES, name="logits"),
        ],
        name=name,
    )


def examples(n=44, seed=0):
    """The last batch is smaller; labels are of no use but to be told apart."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 6)).astype("float32")
    return x, rng.integers(0, CLASSES, n).astype("int32")


def build(teacher, data, folder, dtype="float32", batch_size=BATCH, **kwargs):
    return SupervisionCache.build(
        teacher,
        data,
        folder,
        dtype=dtype,
        batch_size=batch_size,
        progress=False,
        **kwargs,
    )


def files(folder):
    """The content of every file, by its name."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def sparse_loss():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


class Fitted:
    """Fits one student, always from the same weights, on one teacher after another."""

    def __init__(self, student, losses=None, alpha=1.0, **compiled):
        self.student = student
        self.start = student.get_weights()
        self.losses = losses or (lambda: SoftTargets(2.0))
        self.alpha = alpha
        self.compiled = compiled

    def __call__(self, teacher, x, y=None, epochs=3, callbacks=(), **kwargs):
        """Weights after `fit`, and its history."""
        self.student.set_weights(self.start)
        distiller = Distiller(teacher, self.student, self.losses(), alpha=self.alpha)
        distiller.compile(
            keras.optimizers.SGD(0.1, momentum=0.9), sparse_loss(), **self.compiled
        )
        # The order of shuffled arrays comes from here.
        keras.utils.set_random_seed(7)
        if hasattr(x, "__array__") or isinstance(x, dict):
            kwargs["batch_size"] = BATCH
        kwargs.setdefault("shuffle", False)
        history = distiller.fit(
            x, y, epochs=epochs, verbose=0, callbacks=list(callbacks), **kwargs
        )
        return self.student.get_weights(), history.history


def assert_equal_weights(ours, theirs, bitwise=BACKEND != "jax"):
    """Bitwise, but for JAX, which compiles two different steps.

    Nor is it bitwise where the teacher saw other batches when the cache was built: the
    last bit of a product of matrices may depend on an example's place in its batch.
    """
    for one, other in zip(ours, theirs, strict=True):
        if bitwise:
            np.testing.assert_array_equal(one, other)
        else:
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)


def moved(before, after):
    return all(np.abs(a - b).max() > 1e-3 for a, b in zip(before, after, strict=True))


class Watched(Distiller):
    """Notes each training batch with what the loss received of the teacher.

    Compile it with `run_eagerly=True`.
    """

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        loss = self.distillation_losses[0]
        loss.received = None
        result = super().compute_loss(x, y, y_pred, sample_weight, training)
        if training and loss.received is not None:
            batch = x, y, sample_weight, loss.received
            self.seen.append(keras.tree.map_structure(as_numpy, batch))
        return result


class Spy(SoftTargets):
    """Keeps what it received of the teacher."""

    received = None

    def compute_loss(self, teacher_outputs, student_outputs, sample_weight=None):
        self.received = teacher_outputs
        return super().compute_loss(
            teacher_outputs, student_outputs, sample_weight=sample_weight
        )


def as_numpy(value):
    return None if value is None else np.array(keras.ops.convert_to_numpy(value))


def watched(teacher, student, losses=None, alpha=1.0, loss=None):
    distiller = Watched(teacher, student, losses or Spy(2.0), alpha=alpha)
    distiller.seen = []
    distiller.compile("sgd", loss or sparse_loss(), run_eagerly=True)
    return distiller
