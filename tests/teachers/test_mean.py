"""The mean of several teachers, running and cached, against SciPy."""

import keras
import numpy as np
import pytest
from scipy.special import expit, logit, logsumexp, softmax
from tiny_teachers import make_data, make_teacher

import keras_kd
from keras_kd.teachers import SupervisionCache, mean


def students_of(teacher, x):
    """The weights of a student that has learnt from `teacher`."""
    keras.utils.set_random_seed(3)
    student = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    distiller = keras_kd.Distiller(teacher, student, output_kind="categorical")
    distiller.compile(keras.optimizers.SGD(0.1))
    distiller.fit(x, batch_size=4, epochs=2, shuffle=False, verbose=0)
    return student.get_weights()


@pytest.fixture(scope="module")
def ensemble():
    keras.utils.set_random_seed(0)
    return [make_teacher(units) for units in (4, 5, 6)]


def test_of_logits(ensemble):
    x, _ = make_data()
    expected = np.mean([t.predict(x, verbose=0) for t in ensemble], axis=0)
    found = mean(ensemble).predict(x, verbose=0)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_of_probabilities(ensemble):
    x, _ = make_data()
    each = [softmax(t.predict(x, verbose=0), axis=1) for t in ensemble]
    found = softmax(
        mean(ensemble, "probabilities", output_kind="categorical").predict(
            x, verbose=0
        ),
        axis=1,
    )
    np.testing.assert_allclose(found, np.mean(each, axis=0), atol=1e-6)


def test_of_one_unit_it_is_bernoullis():
    teachers = [make_teacher(classes=1) for _ in range(2)]
    x, _ = make_data()
    each = [expit(t.predict(x, verbose=0).astype("float64")) for t in teachers]
    found = mean(teachers, "probabilities", output_kind="bernoulli").predict(
        x, verbose=0
    )
    np.testing.assert_allclose(found, logit(np.mean(each, axis=0)), atol=1e-5)


@pytest.mark.parametrize("of", ["logits", "probabilities"])
def test_cached_and_running_teach_alike(ensemble, of, tmp_path):
    x, _ = make_data()
    caches = [
        SupervisionCache.build(
            t,
            x,
            tmp_path / str(i),
            dtype="float32",
            progress=False,
            output_kind="categorical",
        )
        for i, t in enumerate(ensemble)
    ]
    for live, cached in zip(
        students_of(mean(ensemble, of, output_kind="categorical"), x),
        students_of(mean(caches, of), x),
        strict=True,
    ):
        np.testing.assert_allclose(live, cached, atol=1e-6)


def test_over_a_trajectory(trajectory, tmp_path):
    x, _ = make_data()
    cache = SupervisionCache.build(
        trajectory, x, tmp_path / "cache", dtype="float32", progress=False
    )
    each = np.stack([cache.predict(x, i) for i in range(len(trajectory))])
    live = mean(trajectory, "probabilities", output_kind="categorical").predict(
        x, verbose=0
    )
    expected = logsumexp(np.log(softmax(each, axis=2)), axis=0) - np.log(len(each))
    np.testing.assert_allclose(
        softmax(live, axis=1), softmax(expected, axis=1), atol=1e-6
    )
    some = students_of(cache.mean([0, -1]), x)
    both = mean([trajectory.load(0), trajectory.load(-1)])
    for one, other in zip(some, students_of(both, x), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_it_saves(ensemble, tmp_path):
    x, _ = make_data()
    teacher = mean(ensemble, "probabilities", output_kind="categorical")
    teacher.save(tmp_path / "mean.keras")
    loaded = keras.saving.load_model(tmp_path / "mean.keras")
    np.testing.assert_allclose(
        loaded.predict(x, verbose=0), teacher.predict(x, verbose=0), atol=1e-6
    )


@pytest.mark.parametrize(
    ("teachers", "of", "message"),
    [
        ([], "logits", "`teachers` must be built"),
        (["no model"], "logits", "`teachers` must be built"),
        ([keras.Sequential([keras.layers.Dense(3)])], "logits", "must be built"),
        ([make_teacher()], "votes", "`of` must be one of"),
    ],
)
def test_refused(teachers, of, message):
    with pytest.raises(ValueError, match=message):
        mean(teachers, of)
