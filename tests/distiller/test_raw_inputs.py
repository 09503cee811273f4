"""Strings, read by the models' own preprocessors, and two views of one example."""

import keras
import numpy as np
import pytest
from networks import CLASSES, sparse_loss

from keras_kd import Distiller, SupervisionCache
from keras_kd.losses import FeatureHint, SoftTargets

WORDS = ["the", "cat", "dog", "sat", "ran", "on", "mat", "far"]
FIT = {"batch_size": 8, "shuffle": False, "verbose": 0}


@keras.saving.register_keras_serializable(package="test")
class Task(keras.Model):
    """A text classifier as KerasHub's: a functional graph and a `preprocessor`."""

    def __init__(self, width, preprocessor, **kwargs):
        inputs = {
            "token_ids": keras.Input((None,), dtype="int32", name="token_ids"),
            "padding_mask": keras.Input((None,), dtype="int32", name="padding_mask"),
        }
        x = keras.layers.Embedding(len(WORDS) + 2, width, name="embed")(
            inputs["token_ids"]
        )
        mask = keras.ops.cast(inputs["padding_mask"], "float32")[..., None]
        x = keras.ops.sum(x * mask, axis=1)
        outputs = keras.layers.Dense(CLASSES, name="head")(x)
        super().__init__(inputs, outputs, **kwargs)
        self.width = width
        self.preprocessor = preprocessor

    def preprocess_samples(self, x, y=None, sample_weight=None):
        ids = self.preprocessor(x)
        x = {"token_ids": ids, "padding_mask": as_int(ids != 0)}
        return keras.utils.pack_x_y_sample_weight(x, y, sample_weight)

    def get_config(self):
        return {
            "width": self.width,
            "preprocessor": keras.saving.serialize_keras_object(self.preprocessor),
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        config["preprocessor"] = keras.saving.deserialize_keras_object(
            config["preprocessor"]
        )
        return cls(**config)


def as_int(mask):
    import tensorflow as tf  # in a `tf.data` pipeline, on every backend

    return tf.cast(mask, tf.int32) if tf.is_tensor(mask) else np.int32(mask)


def reader(length=6):
    return keras.layers.TextVectorization(
        vocabulary=WORDS, output_sequence_length=length
    )


def texts(n=32):
    rng = np.random.default_rng(0)
    x = [" ".join(rng.choice(WORDS, rng.integers(1, 7))) for _ in range(n)]
    return np.array(x), rng.integers(0, CLASSES, n).astype("int32")


def numbers(task, x):
    read, _, _ = keras.utils.unpack_x_y_sample_weight(task.preprocess_samples(x))
    return {key: np.asarray(value) for key, value in read.items()}


def pair():
    teacher, student = Task(8, reader()), Task(3, reader(4))
    start = student.get_weights()
    return teacher, student, start


def distilled(teacher, student, data, **kwargs):
    distiller = Distiller(teacher, student, output_kind="categorical")
    distiller.compile(keras.optimizers.Adam(0.01))
    distiller.fit(*data, epochs=2, **{**FIT, **kwargs})
    return student.get_weights()


class InBatches(keras.utils.PyDataset):
    def __init__(self, x):
        super().__init__()
        self.x = x

    def __len__(self):
        return len(self.x) // 8

    def __getitem__(self, index):
        return (self.x[8 * index : 8 * index + 8],)


def in_pipeline(x):
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices(x).batch(8)


FORMS = {
    "array": lambda x: x,
    "list": list,
    "objects": lambda x: x.astype(object),
    "PyDataset": InBatches,
    "tf.data": in_pipeline,
}


@pytest.fixture(scope="module")
def by_hand():
    """The same with the texts read beforehand, each as its model reads it."""
    x, _ = texts()
    teacher, student, start = pair()
    views = {"teacher": numbers(teacher, x), "student": numbers(student, x)}
    assert views["teacher"]["token_ids"].shape == (32, 6)
    assert views["student"]["token_ids"].shape == (32, 4)
    return teacher, start, distilled(teacher, student, (views,))


@pytest.mark.parametrize("form", FORMS)
def test_a_task_learns_from_strings_as_from_what_it_reads(by_hand, form):
    teacher, start, expected = by_hand
    student = Task(3, reader(4))
    student.set_weights(start)
    whole = {"batch_size": None} if form in ("PyDataset", "tf.data") else {}
    data = (FORMS[form](texts()[0]),)
    found = distilled(teacher, student, data, **whole)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert np.abs(found[0] - start[0]).max() > 1e-3


def test_labels_validation_evaluation_and_prediction_of_strings(tmp_path):
    x, y = texts()
    teacher, student, _ = pair()
    distiller = Distiller(teacher, student, alpha=0.5)
    distiller.compile("adam", sparse_loss(), metrics=["accuracy"])
    history = distiller.fit(x, y, validation_data=(x, y), **FIT).history
    logs = distiller.evaluate(x, y, verbose=0, return_dict=True)
    np.testing.assert_allclose(history["val_loss"][0], logs["loss"], rtol=1e-5)
    logits = student.predict(numbers(student, x), verbose=0)
    np.testing.assert_allclose(distiller.predict(x, verbose=0), logits, atol=1e-6)
    accuracy = np.mean(logits.argmax(-1) == y)
    np.testing.assert_allclose(logs["accuracy"], accuracy, atol=1e-6)

    distiller.save(tmp_path / "tasks.keras")
    loaded = keras.models.load_model(tmp_path / "tasks.keras")
    assert isinstance(loaded.teacher, Task)
    np.testing.assert_allclose(loaded.predict(x, verbose=0), logits, atol=1e-6)
    loaded.fit(x, y, **FIT)


def test_a_cache_of_strings(tmp_path):
    x, y = texts()
    teacher, student, start = pair()
    student.preprocessor = teacher.preprocessor
    cache = SupervisionCache.build(
        teacher, (x, y), tmp_path / "cache", dtype="float32", progress=False
    )
    live = distilled(teacher, student, (x,))
    student = Task(3, teacher.preprocessor)
    student.set_weights(start)
    for one, other in zip(distilled(cache, student, (x,)), live, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.wrong_input
def test_strings_without_a_preprocessor():
    teacher, student, _ = pair()
    teacher.preprocessor = None
    distiller = Distiller(teacher, student, output_kind="categorical")
    distiller.compile("adam")
    with pytest.raises(ValueError, match="`teacher` must have a `preprocessor`"):
        distiller.fit(texts()[0], **FIT)


# Views


def dense(units, width):
    return keras.Sequential(
        [
            keras.Input((width,)),
            keras.layers.Dense(units, activation="relu", name="features"),
            keras.layers.Dense(CLASSES),
        ]
    )


@pytest.mark.parametrize("train_teacher", [False, True])
def test_teacher_and_student_see_different_views(train_teacher):
    rng = np.random.default_rng(0)
    x = {
        "teacher": rng.normal(size=(32, 6)).astype("float32"),
        "student": rng.normal(size=(32, 4)).astype("float32"),
    }
    y = rng.integers(0, CLASSES, 32)
    teacher, student = dense(8, 6), dense(5, 4)
    losses = {"soft": SoftTargets(2.0), "hint": FeatureHint("features", "features")}
    distiller = Distiller(teacher, student, losses, train_teacher=train_teacher)
    distiller.compile("adam", sparse_loss())
    distiller.fit(x, y, **FIT)
    logs = distiller.evaluate(x, y, verbose=0, return_dict=True, batch_size=32)
    expected = SoftTargets(2.0).compute_loss(
        teacher(x["teacher"]), student(x["student"])
    )
    np.testing.assert_allclose(logs["soft_loss"], float(expected), rtol=1e-4)
    np.testing.assert_allclose(
        distiller.predict(x["student"], verbose=0),
        student.predict(x["student"], verbose=0),
        atol=1e-5,
    )


def test_a_cache_is_asked_for_the_teachers_view(tmp_path):
    rng = np.random.default_rng(0)
    x = {
        "teacher": rng.normal(size=(32, 6)).astype("float32"),
        "student": rng.normal(size=(32, 4)).astype("float32"),
    }
    teacher = dense(8, 6)
    cache = SupervisionCache.build(
        teacher, x["teacher"], tmp_path / "cache", dtype="float32", progress=False
    )
    start, found = dense(5, 4).get_weights(), []
    for source in (teacher, cache):
        student = dense(5, 4)
        student.set_weights(start)
        found.append(distilled(source, student, (x,)))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_a_model_of_such_inputs_takes_them_all():
    inputs = {role: keras.Input((3,), name=role) for role in ("teacher", "student")}

    def both():
        joined = keras.layers.Concatenate()([inputs["student"], inputs["teacher"]])
        return keras.Model(inputs, keras.layers.Dense(CLASSES)(joined))

    x = {role: np.ones((8, 3), "float32") for role in inputs}
    distiller = Distiller(both(), both(), output_kind="categorical")
    distiller.compile("sgd")
    distiller.fit(x, **FIT)
    assert distiller.predict(x, verbose=0).shape == (8, CLASSES)
