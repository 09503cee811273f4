"""The mean of several teachers, running and cached, against SciPy."""

import re

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


WEIGHTS = [3, 1.0, np.float32(0.5)]


@pytest.mark.parametrize("of", ["logits", "probabilities"])
def test_weighted(ensemble, of, tmp_path):
    x, _ = make_data()
    each = np.stack([t.predict(x, verbose=0) for t in ensemble]).astype("float64")
    teacher = mean(ensemble, of, output_kind="categorical", weights=WEIGHTS)
    found = softmax(teacher.predict(x, verbose=0), axis=1)
    if of == "logits":
        expected = softmax(np.average(each, axis=0, weights=WEIGHTS), axis=1)
    else:
        expected = np.average(softmax(each, axis=2), axis=0, weights=WEIGHTS)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    teacher.save(tmp_path / "mean.keras")
    loaded = keras.saving.load_model(tmp_path / "mean.keras")
    np.testing.assert_allclose(
        softmax(loaded.predict(x, verbose=0), axis=1), expected, atol=1e-6
    )
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
    cached = mean(caches, of, weights=WEIGHTS)
    for one in (cached, type(cached).from_config(cached.get_config())):
        (logits,), _ = one.look_up(one.rows(x))
        np.testing.assert_allclose(softmax(logits, axis=1), expected, atol=1e-6)


def test_weighted_bernoullis_and_values():
    teachers = [make_teacher(classes=2) for _ in range(2)]
    x, _ = make_data()
    each = np.stack([t.predict(x, verbose=0) for t in teachers]).astype("float64")
    for kind, of, expected in (
        (
            "bernoulli",
            "probabilities",
            logit(np.average(expit(each), axis=0, weights=[1, 3])),
        ),
        ("continuous", "logits", np.average(each, axis=0, weights=[1, 3])),
    ):
        teacher = mean(teachers, of, output_kind=kind, weights=[1, 3])
        np.testing.assert_allclose(
            teacher.predict(x, verbose=0), expected, rtol=1e-5, atol=1e-5
        )


@pytest.mark.wrong_input
@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1, 2], "one number for each of the 3 teachers. Received: 2, of shape (2,)"),
        (1.0, "Received: 1, of shape ()"),
        ([[1, 2, 3]], "Received: 3, of shape (1, 3)"),
        ([], "Received: 0"),
        ("abc", "Received: 1, of shape ()"),
        (
            [1, 2, "3"],
            "`weights[2]` must be a finite number > 0. Received: ",
        ),
        ([1, 2, 0], "weights[2]=0"),
        ([1, -2, 3], "weights[1]=-2"),
        ([np.nan, 1, 1], "weights[0]=nan"),
        ([1, np.inf, 1], "weights[1]=inf"),
        ([1, True, 1], "weights[1]=True"),
        ([1e-300, 1, 1e300], "must be of comparable size"),
    ],
)
def test_wrong_weights(ensemble, weights, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        mean(ensemble, weights=weights)


def ending_in(activation, classes=3, nested=False):
    model = keras.Sequential(
        [keras.Input((5,)), keras.layers.Dense(classes, activation=activation)],
        name=activation,
    )
    if nested:
        inputs = keras.Input((5,))
        model = keras.Model(inputs, model(inputs), name="around")
    return model


@pytest.mark.wrong_input
@pytest.mark.parametrize(
    ("others", "message"),
    [
        ([ending_in("softmax")], r"must give logits\. Received: 'softmax', which ends"),
        ([ending_in("softmax", nested=True)], "'around', which ends in softmax"),
        ([ending_in("sigmoid")], "ends in sigmoid.*teacher_outputs='probabilities'"),
        ([make_teacher(classes=4)], r"shapes \(3,\) of 'teacher' and \(4,\) of"),
        ([make_teacher(classes=1)], r"shapes \(3,\) of 'teacher' and \(1,\) of"),
    ],
)
def test_mixed_teachers(ensemble, others, message):
    for teachers in ([ensemble[0], *others], [*others, ensemble[0]]):
        with pytest.raises(ValueError, match="`teachers` must give"):
            mean(teachers)
    with pytest.raises(ValueError, match=message):
        mean([ensemble[0], *others])


@pytest.mark.wrong_input
def test_softmaxes_alone_are_no_logits_either():
    with pytest.raises(ValueError, match="'softmax', which ends in softmax"):
        mean([ending_in("softmax"), ending_in("softmax")])
    # Values in (0, 1) are values.
    values = [ending_in("sigmoid") for _ in range(2)]
    x, _ = make_data()
    expected = np.mean([v.predict(x, verbose=0) for v in values], axis=0)
    found = mean(values, output_kind="continuous").predict(x, verbose=0)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.wrong_input
def test_kinds_that_differ(tmp_path):
    x, _ = make_data()
    one, other = make_teacher(), make_teacher()
    one.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    other.compile(loss=keras.losses.BinaryCrossentropy(from_logits=True))
    caches = [
        SupervisionCache.build(t, x, tmp_path / str(i), progress=False)
        for i, t in enumerate((one, other))
    ]
    for teachers in ([one, other], caches):
        with pytest.raises(
            ValueError, match=r"one kind\. Received: bernoulli and categ"
        ):
            mean(teachers)
    # One that knows speaks for those that do not.
    both = mean([make_teacher(), one], "probabilities")
    each = [softmax(t.predict(x, verbose=0), axis=1) for t in both.teachers]
    found = softmax(both.predict(x, verbose=0), axis=1)
    np.testing.assert_allclose(found, np.mean(each, axis=0), atol=1e-6)


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


@pytest.mark.wrong_input
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
