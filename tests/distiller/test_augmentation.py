"""What is random in training: teacher and student are to see the same of it."""

import warnings

import keras
import numpy as np
import pytest
from networks import (
    CLASSES,
    assert_same_bits,
    copy_weights,
    evaluate,
    images,
    plain,
    sparse_loss,
    state,
)

from keras_kd import Distiller, SupervisionCache
from keras_kd.losses import LogitMSE


@keras.saving.register_keras_serializable(package="test")
class Shift(keras.layers.Layer):
    """Adds random numbers: from a generator of its own, counted."""

    def __init__(self, by=1.0, **kwargs):
        super().__init__(**kwargs)
        self.by = by
        self.generator = keras.random.SeedGenerator(7)
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, x, training=None):
        assert training is not False
        self.calls.assign_add(1.0)
        noise = keras.random.normal(keras.ops.shape(x)[:1], seed=self.generator)
        return x + self.by * noise[:, None, None, None]

    def get_config(self):
        return {**super().get_config(), "by": self.by}


@keras.saving.register_keras_serializable(package="test")
def brighter(x):
    return x + 1.0


def flipping(name="student"):
    """Linear, so that an image and its mirror image differ."""
    flip = keras.Sequential([keras.layers.RandomFlip(seed=3, name="flip")])
    return keras.Sequential([keras.Input((8, 8, 3)), flip, *plain().layers], name=name)


def test_a_function_of_the_inputs_is_training_on_what_it_gives():
    x, y = images(16)
    teacher, weights = plain(8), plain().get_weights()
    students = []
    for augment, seen in ((brighter, x), (None, x + 1.0)):
        student = plain()
        student.set_weights(weights)
        distiller = Distiller(teacher, student, alpha=0.5, augment=augment)
        distiller.compile(keras.optimizers.SGD(0.1), sparse_loss())
        distiller.fit(seen, y, batch_size=8, epochs=2, shuffle=False, verbose=0)
        students.append(student.get_weights())
        # Evaluation is of the data as they are.
        oracle = keras.ops.mean(sparse_loss()(y, student(x)))
        if augment is not None:
            assert evaluate(distiller, x, y)["student_loss"] == pytest.approx(
                float(keras.ops.convert_to_numpy(oracle)), rel=1e-4
            )
    for one, other in zip(*students, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_both_see_the_same_random_images_and_each_step_others():
    x, _ = images(32)
    teacher = plain()
    distiller = Distiller(
        teacher, copy_weights(teacher, plain()), LogitMSE(), augment=Shift(10.0)
    )
    distiller.compile(keras.optimizers.SGD(0.0))
    seed = state(distiller.augment)
    logs = distiller.fit(x, batch_size=8, epochs=1, verbose=0).history
    # A copy of the teacher says what the teacher says, of whatever it sees.
    assert logs["distillation_loss"][0] == pytest.approx(0, abs=1e-9)
    assert float(distiller.augment.calls.value) == 4
    generator = [v for v in distiller.augment.non_trainable_variables if v.ndim == 1]
    assert len(generator) == 1
    after = keras.ops.convert_to_numpy(generator[0].value)
    assert not any(np.array_equal(after, array) for array in seed)
    before = state(distiller.augment)
    evaluate(distiller, x)
    distiller.predict(x, verbose=0)
    assert_same_bits(before, state(distiller.augment))


def test_saved_and_reloaded(tmp_path):
    x, _ = images(8)
    layer = keras.Sequential([keras.layers.RandomFlip(seed=1), Shift(2.0)])
    for augment in (layer, brighter):
        distiller = Distiller(plain(), plain(), LogitMSE(), augment=augment)
        distiller.compile("sgd")
        distiller.fit(x, verbose=0)
        distiller.save(tmp_path / "distiller.keras")
        loaded = keras.saving.load_model(tmp_path / "distiller.keras")
        assert_same_bits(state(distiller.student), state(loaded.student))
        loaded.fit(x, verbose=0)
    assert loaded.augment is brighter


@pytest.mark.parametrize("nested", [False, True])
def test_a_student_that_flips_for_itself_is_told_of(nested):
    x, _ = images(8)
    student = flipping()
    if nested:
        inputs = keras.Input((8, 8, 3))
        student = keras.Model(inputs, student(inputs), name="student")
    distiller = Distiller(plain(), student, LogitMSE())
    distiller.compile("sgd")
    with pytest.warns(UserWarning, match=r"in layer 'flip': .*augment=layer") as told:
        distiller.fit(x, verbose=0)
    assert len([w for w in told if "augments" in str(w.message)]) == 1
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*augments")
        distiller.fit(x, verbose=0)  # once


def test_what_consists_of_random_layers_is_one_and_a_cache_has_its_own_way(tmp_path):
    x, _ = images(8)
    inputs = keras.Input((8, 8, 3))
    augment = keras.layers.RandAugment(value_range=(0, 1), name="several")
    student = keras.Model(inputs, plain()(augment(inputs)))
    cache = SupervisionCache.build(
        plain(), x, tmp_path, output_kind="categorical", progress=False
    )
    distiller = Distiller(cache, student, LogitMSE())
    distiller.compile("sgd")
    with pytest.warns(UserWarning, match=r"in layer 'several': .*views=8"):
        distiller.make_train_function()


def test_regularisation_inside_needs_no_word():
    x, _ = images(8)
    layers = keras.layers
    student = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Rescaling(2.0),
            layers.GaussianNoise(0.1),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(CLASSES),
        ]
    )
    distiller = Distiller(plain(), student, LogitMSE())
    distiller.compile("sgd")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*augments")
        distiller.fit(x, verbose=0)


@pytest.mark.wrong_input
def test_what_cannot_augment(tmp_path):
    x, _ = images(8)
    trained = keras.layers.Conv2D(3, 1)
    trained.build((None, 8, 8, 3))
    cache = SupervisionCache.build(
        plain(), x, tmp_path / "cache", output_kind="categorical", progress=False
    )
    for augment, teacher, message in (
        ("flip", plain(), "`augment` must be a layer"),
        (keras.layers.RandomFlip, plain(), "`augment` must be a layer"),
        (trained, plain(), "`augment` must have no weights to train"),
        (brighter, cache, "`augment` needs a teacher that runs"),
    ):
        with pytest.raises(ValueError, match=message):
            Distiller(teacher, plain(), LogitMSE(), augment=augment)
    later = Distiller(plain(), plain(), LogitMSE(), augment=keras.layers.Conv2D(3, 1))
    later.compile("sgd")
    with pytest.raises(ValueError, match="`augment` must have no weights to train"):
        later.fit(x, verbose=0)
    distiller = Distiller(plain(), plain(), LogitMSE(), augment=brighter)
    with pytest.raises(ValueError, match="`augment` needs a teacher that runs"):
        distiller.teacher = cache
    distiller.compile("sgd")
    with pytest.raises(ValueError, match=r"`augment` is for inputs that .* share"):
        distiller.fit({"teacher": x, "student": x}, verbose=0)


@pytest.mark.wrong_input
@pytest.mark.skipif(keras.backend.backend() != "jax", reason="others keep the state")
def test_numbers_that_would_repeat_under_jax():
    x, _ = images(8)
    generator = keras.random.SeedGenerator(0)
    distiller = Distiller(
        plain(),
        plain(),
        LogitMSE(),
        augment=lambda x: x + keras.random.normal((1,), seed=generator),
    )
    distiller.compile("sgd")
    with pytest.raises(
        ValueError, match="`augment` must be a layer where it has state"
    ):
        distiller.fit(x, verbose=0)


@pytest.mark.wrong_input
@pytest.mark.parametrize("wrap", [False, True])
def test_a_teacher_that_goes_on_from_batch_to_batch(wrap, tmp_path):
    x = np.zeros((4, 5, 3), "float32")

    def network(stateful):
        layer = keras.layers.LSTM(2, stateful=stateful, name="memory")
        if wrap:
            layer = keras.layers.Bidirectional(layer, name="memory")
        return keras.Sequential(
            [keras.Input((5, 3), batch_size=4), layer, keras.layers.Dense(2)]
        )

    teacher, student = network(True), network(False)
    message = "Received: layer 'memory' with stateful=True"
    with pytest.raises(ValueError, match=message):
        Distiller(teacher, student, LogitMSE())
    with pytest.raises(ValueError, match=message):
        SupervisionCache.build(teacher, x, tmp_path / "cache", progress=False)
    # As a student it moves on.
    Distiller(student, teacher, LogitMSE())
