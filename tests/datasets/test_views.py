"""Augmented views: as many as were asked for, whatever the epoch and the batch."""

import keras
import numpy as np
import pytest

import keras_kd
from keras_kd.datasets import Batches

pytestmark = pytest.mark.one_backend

N, VIEWS = 22, 3


def images():
    return np.random.default_rng(0).random((N, 8, 8, 1), "float32")


def augmentation():
    return keras.Sequential(
        [
            keras.layers.RandomFlip("horizontal"),
            keras.layers.RandomTranslation(
                0.25, 0.25, fill_mode="constant", interpolation="nearest"
            ),
        ]
    )


def batches(**kwargs):
    arguments = {"batch_size": 8, "seed": 5, "augment": augmentation(), "views": VIEWS}
    return Batches(images(), np.arange(N), **{**arguments, **kwargs})


def epoch(data, number):
    """The images of an epoch in the order of their labels."""
    data.set_epoch(number)
    x, y = (
        np.concatenate(part)
        for part in zip(*map(data.__getitem__, range(len(data))), strict=True)
    )
    return x[np.argsort(y)]


def test_epochs_cycle_through_the_views():
    data = batches()
    seen = [epoch(data, e) for e in range(2 * VIEWS)]
    for view in range(VIEWS):
        np.testing.assert_array_equal(seen[view], seen[view + VIEWS])
    for one, other in [(0, 1), (0, 2), (1, 2)]:
        assert not np.array_equal(seen[one], seen[other])
    for view in seen[:VIEWS]:
        assert not np.array_equal(view, images())


def test_a_pure_function_of_seed_image_and_view():
    expected = [epoch(batches(), e) for e in range(VIEWS)]
    other = batches(batch_size=5, workers=2)
    for view in (2, 0, 1):
        np.testing.assert_array_equal(epoch(other, view), expected[view])
    assert not np.array_equal(epoch(batches(seed=6), 0), expected[0])


def test_a_cached_teacher_sees_the_pixels_of_the_student(tmp_path):
    keras.utils.set_random_seed(0)
    teacher = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(4)]
    )
    cache = keras_kd.SupervisionCache.build(
        teacher, batches(), tmp_path / "cache", dtype="float32", progress=False
    )
    # Two views of an image may happen to be the same.
    pixels = np.concatenate([epoch(batches(), e).reshape(N, -1) for e in range(VIEWS)])
    assert (cache.views, cache.n) == (VIEWS, len(np.unique(pixels, axis=0)))

    def weights(source):
        keras.utils.set_random_seed(1)
        student = keras.models.clone_model(teacher)
        distiller = keras_kd.Distiller(source, student, output_kind="categorical")
        distiller.compile(keras.optimizers.SGD(0.5))
        data = batches()
        distiller.fit(
            data,
            epochs=VIEWS + 1,
            shuffle=False,
            callbacks=[data.epoch_callback()],
            verbose=0,
        )
        return student.get_weights()

    for live, cached in zip(weights(teacher), weights(cache), strict=True):
        np.testing.assert_allclose(live, cached, atol=1e-6)

    distiller = keras_kd.Distiller(
        cache, keras.models.clone_model(teacher), output_kind="categorical"
    )
    distiller.compile("sgd")
    with pytest.raises(ValueError, match="must hold every example"):
        distiller.fit(batches(views=None), shuffle=False, verbose=0)


@pytest.mark.wrong_input
def test_a_cache_of_endless_augmentation_is_refused(tmp_path):
    teacher = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(4)]
    )
    with pytest.raises(ValueError, match="augments its images anew"):
        keras_kd.SupervisionCache.build(
            teacher, batches(views=None), tmp_path / "cache"
        )
    assert not (tmp_path / "cache").exists()


@pytest.mark.wrong_input
@pytest.mark.parametrize("arguments", [{"views": 0}, {"augment": None}])
def test_refuses_arguments(arguments):
    with pytest.raises(ValueError, match="`views` must be > 0"):
        batches(**arguments)
