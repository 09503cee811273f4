"""A distiller with a cache is saved with a reference to it, and goes on from there."""

import keras
import numpy as np
import pytest
from tiny_caches import BATCH, assert_equal_weights, build, examples, network

from keras_kd import Distiller

X, _ = examples()


@pytest.fixture
def cache(tmp_path):
    return build(
        network(12, "teacher"), X, tmp_path / "cache", output_kind="categorical"
    )


def fitted(distiller, epochs):
    distiller.fit(X, batch_size=BATCH, epochs=epochs, shuffle=False, verbose=0)
    return distiller


def compiled(cache, **kwargs):
    distiller = Distiller(cache, network(), output_kind="categorical", **kwargs)
    distiller.compile(keras.optimizers.Adam(0.01))
    return distiller


def test_training_goes_on(cache, tmp_path):
    size = cache.size
    distiller = fitted(compiled(cache), 1)
    path = tmp_path / "distiller.keras"
    distiller.save(path)
    loaded = keras.models.load_model(path)
    assert loaded.teacher.folder == cache.folder
    np.testing.assert_array_equal(loaded.teacher.predict(X), cache.predict(X))
    fitted(loaded, 2)
    fitted(distiller, 2)
    assert_equal_weights(loaded.student.get_weights(), distiller.student.get_weights())
    assert cache.size == size


def test_without_the_teacher(cache, tmp_path):
    path = tmp_path / "distiller.keras"
    distiller = fitted(compiled(cache, save_teacher=False), 1)
    distiller.save(path)
    assert str(cache.folder).encode() not in path.read_bytes()
    loaded = keras.models.load_model(path)
    assert loaded.teacher is None
    with pytest.raises(ValueError, match="`fit` needs a teacher"):
        fitted(loaded, 1)
    loaded.teacher = cache
    fitted(loaded, 1)
    fitted(distiller, 1)
    assert_equal_weights(loaded.student.get_weights(), distiller.student.get_weights())


def test_from_a_cache_to_a_teacher_that_runs(cache):
    """And back: what was compiled does not hold on to the former one."""
    teacher = network(12)
    distiller = fitted(compiled(cache), 1)
    distiller.teacher = teacher
    assert distiller.teacher is teacher
    fitted(distiller, 1)
    distiller.teacher = cache.stage(0)
    fitted(distiller, 1)


def test_a_cache_of_another_teacher(cache, tmp_path):
    path = tmp_path / "distiller.keras"
    compiled(cache).save(path)
    for file in cache.folder.iterdir():
        file.unlink()
    with pytest.raises(FileNotFoundError, match="no finished supervision cache"):
        keras.models.load_model(path)
    build(network(12), X, cache.folder, output_kind="categorical")
    with pytest.raises(ValueError, match="another teacher than when the distiller"):
        keras.models.load_model(path)


@pytest.mark.parametrize("of", ["logits", "probabilities"])
def test_a_mean(cache, tmp_path, of):
    path = tmp_path / "distiller.keras"
    mean = cache.mean([0, 0], of)
    fitted(compiled(mean), 1).save(path)
    loaded = keras.models.load_model(path).teacher
    assert loaded.of == of
    assert [i for _, i in loaded.members] == [0, 0]
    rows = loaded.rows(X)
    (ours,), _ = loaded.look_up(rows)
    (theirs,), _ = mean.look_up(mean.rows(X))
    np.testing.assert_array_equal(ours, theirs)
    single = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(cache.stage(0))
    )
    np.testing.assert_array_equal(single.look_up(single.rows(X))[0], [cache.predict(X)])
