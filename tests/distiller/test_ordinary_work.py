"""As with any Keras model: labels that come later, another teacher, export."""

import keras
import numpy as np
import pytest
from networks import CLASSES, copy_weights, sparse_loss

from keras_kd import Distiller, SupervisionCache


def network(width=4, classes=CLASSES):
    return keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(width, "relu"),
            keras.layers.Dense(classes),
        ]
    )


def vectors(n=32):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 6)).astype("float32")
    return x, rng.integers(0, CLASSES, n).astype("int32")


def compiled(student=None, **kwargs):
    distiller = Distiller(network(6), student or network(), **kwargs)
    distiller.compile(
        "sgd",
        keras.losses.CategoricalCrossentropy(from_logits=True),
        metrics=["accuracy", keras.metrics.F1Score()],
    )
    return distiller


def labelled(n=32):
    x, y = vectors(n)
    return x, np.eye(CLASSES, dtype="float32")[y]


def measures(distiller, x, y):
    """The same by Keras alone: the student, compiled as the distiller is."""
    student = copy_weights(distiller.student, network())
    student.compile(
        loss=keras.losses.CategoricalCrossentropy(from_logits=True),
        metrics=["accuracy", keras.metrics.F1Score()],
    )
    return student.evaluate(x, y, verbose=0, return_dict=True)


def assert_measured(logs, expected):
    for name, other in (
        ("accuracy", "accuracy"),
        ("f1_score", "f1_score"),
        ("student_loss", "loss"),
    ):
        np.testing.assert_allclose(logs[name], expected[other], rtol=1e-5)


LATER = {
    "fit": lambda d, x, y: (
        d.fit(x, verbose=0),
        d.fit(x, y, verbose=0),
    ),
    "train_on_batch": lambda d, x, y: (d.train_on_batch(x), d.train_on_batch(x, y)),
    "test_on_batch": lambda d, x, y: (d.test_on_batch(x), d.test_on_batch(x, y)),
    "evaluate": lambda d, x, y: (
        d.evaluate(x, verbose=0),
        d.evaluate(x, y, verbose=0),
    ),
    "fit, then a batch": lambda d, x, y: (
        d.fit(x, verbose=0),
        d.train_on_batch(x, y),
    ),
    "fit, then validation": lambda d, x, y: (
        d.fit(x, verbose=0),
        d.fit(x, verbose=0, validation_data=(x, y)),
    ),
    "and back": lambda d, x, y: (
        d.train_on_batch(x, y),
        d.train_on_batch(x),
        d.train_on_batch(x, y),
    ),
}


@pytest.mark.parametrize("calls", LATER.values(), ids=list(LATER))
def test_labels_may_come_later(calls):
    x, y = labelled()
    distiller = compiled()
    calls(distiller, x, y)
    logs = distiller.evaluate(x, y, verbose=0, return_dict=True)
    assert_measured(logs, measures(distiller, x, y))
    assert "student_loss" in distiller.train_on_batch(x, y, return_dict=True)


def test_labels_that_come_later_count_in_the_same_step():
    x, y = labelled()
    late = compiled()
    late.evaluate(x, verbose=0)
    assert_measured(late.test_on_batch(x, y, return_dict=True), measures(late, x, y))


def test_labels_of_several_outputs_may_come_later():
    x, y = vectors()
    inputs = keras.Input((6,))

    def two():
        return keras.Model(
            inputs,
            {name: keras.layers.Dense(CLASSES, name=name)(inputs) for name in "ab"},
        )

    distiller = Distiller(two(), two())
    distiller.compile("sgd", {name: sparse_loss() for name in "ab"})
    distiller.fit(x, verbose=0)
    logs = distiller.fit(x, {"a": y, "b": y}, verbose=0).history
    np.testing.assert_allclose(
        logs["student_loss"][0], logs["a_loss"][0] + logs["b_loss"][0], rtol=1e-5
    )


class Replaces(keras.callbacks.Callback):
    """Another teacher from an epoch on."""

    def __init__(self, teacher, epoch):
        super().__init__()
        self.teacher, self.epoch = teacher, epoch

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self.epoch:
            self.model.teacher = self.teacher


@pytest.mark.parametrize("width", [6, 9])
def test_another_teacher_from_a_callback(width):
    x, _ = vectors()
    fit = {"batch_size": 8, "shuffle": False, "verbose": 0}
    first, second = network(6), network(width)
    start = network()
    students = []
    for at_once in (True, False):
        student = copy_weights(start, network())
        distiller = Distiller(first, student)
        distiller.compile(keras.optimizers.Adam(0.01), sparse_loss())
        if at_once:
            callbacks = [Replaces(second, 1)]
            history = distiller.fit(x, epochs=4, callbacks=callbacks, **fit).history
            assert len(history["loss"]) == 4
        else:
            distiller.fit(x, epochs=2, **fit)
            distiller.teacher = second
            distiller.fit(x, epochs=4, initial_epoch=2, **fit)
        assert distiller.teacher is second
        students.append(student)
    for one, other in zip(*(s.get_weights() for s in students), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    assert np.abs(start.get_weights()[0] - students[0].get_weights()[0]).max() > 1e-3


@pytest.mark.one_backend
@pytest.mark.parametrize("ways", ["live cached", "cached live", "cached cached"])
def test_no_cache_comes_or_goes_while_fit_runs(ways, tmp_path):
    """What it says has been joined to the data; between two fits it can."""
    x, _ = vectors()
    teachers = []
    for i, way in enumerate(ways.split()):
        teacher = network(6)
        if way == "cached":
            folder = tmp_path / str(i)
            teacher = SupervisionCache.build(teacher, x, folder, progress=False)
        teachers.append(teacher)
    first, second = teachers
    distiller = Distiller(first, network())
    distiller.compile("sgd", sparse_loss())
    with pytest.raises(ValueError, match=r"while `fit` runs.*: .* in place of"):
        distiller.fit(x, epochs=3, verbose=0, callbacks=[Replaces(second, 1)])
    assert distiller.teacher is first
    distiller.teacher = second
    assert len(distiller.fit(x, epochs=2, verbose=0).history["loss"]) == 2
    assert distiller.teacher is second


@pytest.mark.wrong_input
def test_a_teacher_that_does_not_fit_is_refused_and_the_former_stays():
    distiller = compiled()
    x, y = labelled()
    distiller.fit(x, y, verbose=0)
    teacher = distiller.teacher
    with pytest.raises(ValueError, match="same structure and shape"):
        distiller.teacher = network(classes=7)
    assert distiller.teacher is teacher
    distiller.fit(x, y, verbose=0)


@keras.saving.register_keras_serializable(package="test")
class Subclassed(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.head = keras.layers.Dense(CLASSES)

    def call(self, x):
        return self.head(x)


@pytest.mark.parametrize("student", [network, Subclassed])
def test_export_is_that_of_the_student(tmp_path, student):
    x, y = labelled()
    distiller = compiled(student())
    distiller.fit(x, y, verbose=0)
    expected = distiller.student.predict(x[:1], verbose=0)
    if keras.backend.backend() == "torch":  # Keras exports to no SavedModel there
        import torch

        if keras.__version__.startswith("3.12."):  # nor has it a format of PyTorch's
            with pytest.raises(ValueError, match="format=torch"):
                distiller.export(tmp_path / "model.pt2", format="torch")
            return
        distiller.export(tmp_path / "model.pt2", format="torch", verbose=False)
        served = torch.export.load(tmp_path / "model.pt2").module()
        given = served(torch.tensor(x[:1])).detach().numpy()
    else:
        distiller.export(tmp_path / "model", verbose=False)
        import tensorflow as tf

        served = tf.saved_model.load(tmp_path / "model")
        given = served.serve(x[:1]).numpy()
    np.testing.assert_allclose(given, expected, atol=1e-5)
