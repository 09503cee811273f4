"""Caches of logits that are there already, and of teachers that are functions."""

import keras
import numpy as np
import pytest
from scipy.special import softmax
from tiny_caches import BATCH, CLASSES, build, examples, network

from keras_kd import Distiller, OnlineTeacher, SupervisionCache
from keras_kd.datasets import Batches
from keras_kd.losses import SoftTargets


def given(logits, data, folder, **kwargs):
    return SupervisionCache.from_logits(
        data, logits, folder, **{"dtype": "float32", "progress": False, **kwargs}
    )


def logits_of(n=44, k=CLASSES, seed=1):
    return np.random.default_rng(seed).normal(size=(n, k)).astype("float32")


@pytest.mark.parametrize("form", ["array", "file", "probabilities", "tensor"])
def test_it_says_what_was_given(form, tmp_path):
    (x, y), logits = examples(), logits_of()
    options = {}
    if form == "file":
        np.save(tmp_path / "logits.npy", logits)
        said = tmp_path / "logits.npy"
    elif form == "probabilities":
        said = softmax(logits.astype("float64"), -1)
        options = {"teacher_outputs": "probabilities", "output_kind": "categorical"}
    else:
        said = keras.ops.convert_to_tensor(logits) if form == "tensor" else logits
    cache = given(said, (x, y), tmp_path / "cache", **options)
    cache.verify()
    order = np.random.default_rng(2).permutation(len(x))
    found, expected = cache.predict(x[order]), logits[order]
    if form == "probabilities":
        found, expected = softmax(found, -1), softmax(expected, -1)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_array_equal(cache.labels(cache.rows(x)), y)


def test_a_student_learns_as_from_the_model(tmp_path):
    (x, y), teacher, student = examples(40), network(12), network()
    start = student.get_weights()
    logits = teacher.predict(x, BATCH, verbose=0)
    learned = []
    for cache in (
        build(teacher, x, tmp_path / "model"),
        given(logits, x, tmp_path / "given"),
        build(lambda batch: logits_by_hand(teacher, batch), x, tmp_path / "function"),
    ):
        student.set_weights(start)
        distiller = Distiller(
            cache, student, SoftTargets(2.0), output_kind="categorical"
        )
        distiller.compile("sgd", keras.losses.SparseCategoricalCrossentropy(True))
        distiller.fit(x, y, BATCH, epochs=2, shuffle=False, verbose=0)
        learned.append(student.get_weights())
    for other in learned[1:]:
        for a, b in zip(learned[0], other, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6)


def logits_by_hand(teacher, batch):
    one, two = (layer.get_weights() for layer in teacher.layers)
    return np.maximum(batch @ one[0] + one[1], 0) @ two[0] + two[1]


def test_checkpoints_teach_online(tmp_path):
    x, _ = examples()
    stages = [logits_of(seed=seed) for seed in range(3)]
    cache = given(stages, x, tmp_path, steps=[10, 20, 40])
    assert [stage.step for stage in cache] == [10, 20, 40]
    assert cache.total_steps == 40
    for i, logits in enumerate(stages):
        np.testing.assert_allclose(cache.predict(x, i), logits, atol=1e-6)
    online = OnlineTeacher(cache)
    distiller = Distiller(cache, network(), output_kind="categorical")
    distiller.compile("sgd")
    history = distiller.fit(
        x, batch_size=BATCH, epochs=3, verbose=0, callbacks=[online]
    )
    assert history.history["teacher_step"][-1] == 40
    assert len(set(history.history["teacher_step"])) > 1


def test_a_structure_of_outputs(tmp_path):
    x, _ = examples()
    logits = {"kind": logits_of(), "broken": logits_of(k=1)}
    kinds = {"kind": "categorical", "broken": "bernoulli"}
    cache = given(logits, x, tmp_path, output_kind=kinds)
    assert cache.output_kinds == ["bernoulli", "categorical"]
    found = cache.predict(x[:5])
    for name, values in logits.items():
        np.testing.assert_allclose(found[name], values[:5], atol=1e-6)


class NotInOrder(keras.Model):
    """Its outputs are a dictionary whose names are not in alphabetical order."""

    def __init__(self):
        super().__init__()
        self.of = {"kind": keras.layers.Dense(4), "broken": keras.layers.Dense(1)}

    def call(self, x):
        return {name: layer(x) for name, layer in self.of.items()}


def test_outputs_of_a_model_keep_their_names(tmp_path):
    x, _ = examples()
    teacher = NotInOrder()
    expected = teacher.predict(x, verbose=0)
    kinds = {"kind": "categorical", "broken": "bernoulli"}
    found = build(teacher, x, tmp_path, output_kind=kinds).predict(x)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=1e-5)


def test_a_function_is_known_again_whatever_the_order(tmp_path):
    (x, _), teacher, calls = examples(), network(12), []

    def function(batch):
        calls.append(len(batch))
        return logits_by_hand(teacher, batch)

    build(function, x, tmp_path, batch_size=8)
    before = len(calls)
    build(function, x[::-1].copy(), tmp_path, batch_size=16)
    assert len(calls) - before <= 2  # It was all there.
    with pytest.raises(ValueError, match=r"of another teacher"):
        build(lambda batch: 2 * logits_by_hand(teacher, batch), x, tmp_path)


def test_equal_examples_have_equal_logits(tmp_path):
    (x, _), logits = examples(), logits_of()
    twice = np.concatenate([x, x[:2]])
    cache = given(np.concatenate([logits, logits[:2]]), twice, tmp_path / "same")
    assert cache.n == len(x)
    with pytest.raises(ValueError, match="equal examples 0 and 44"):
        given(np.concatenate([logits, logits[2:4]]), twice, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def with_nan():
    logits = logits_of()
    logits[7, 1] = np.nan
    return logits


WRONG = {
    "too_few": (lambda: logits_of(43), {}, r"n=44 .*Received: shape \(43, 4\)"),
    "a_vector": (lambda: np.zeros(44, "float32"), {}, r"Received: shape \(44,\)"),
    "nan": (with_nan, {}, "example 7 first"),
    "text": (lambda: "logits.csv", {}, "`.npy` files. Received: 'logits.csv'"),
    "a_number": (lambda: 3, {}, "Received: logits=3"),
    "strings": (lambda: np.full((44, 4), "a"), {}, "dtype <U1"),
    "complex": (lambda: logits_of().astype(complex), {}, "dtype complex128"),
    "no_list": (logits_of, {"steps": [1]}, "a list, one for each of `steps`"),
    "steps_down": (lambda: [logits_of()] * 2, {"steps": [2, 1]}, "2 increasing"),
    "steps_few": (lambda: [logits_of()] * 2, {"steps": [2]}, "2 increasing numbers"),
    "steps_half": (lambda: [logits_of()], {"steps": [0.5]}, "`steps` must be"),
    "two_shapes": (
        lambda: [logits_of(), logits_of(k=3)],
        {"steps": [1, 2]},
        "one shape at all `steps`",
    ),
    "top_k": (logits_of, {"top_k": 5}, "`top_k` must be at most"),
}


@pytest.mark.wrong_input
@pytest.mark.parametrize("name", WRONG)
def test_what_is_refused_before_anything_is_written(name, tmp_path):
    make, options, message = WRONG[name]
    with pytest.raises(ValueError, match=message):
        given(make(), examples()[0], tmp_path / "cache", **options)
    assert not (tmp_path / "cache").exists()


@pytest.mark.wrong_input
def test_only_arrays_have_a_certain_order(tmp_path):
    (x, y), logits = examples(), logits_of()
    for data in (Batches(x, y, 8), iter([x]), lambda view: x):
        with pytest.raises(ValueError, match="`data` "):
            given(logits, data, tmp_path / "cache")
    with pytest.raises(ValueError, match=r"must be arrays, or a pair .* type Batches"):
        given(logits, Batches(x, y, 8), tmp_path / "cache")
    with pytest.raises(ValueError, match=r"one for each of `logits`.*steps=100"):
        given([logits], x, tmp_path / "cache", steps=100)
    with pytest.raises(ValueError, match="hold examples"):
        given(logits, x[:0], tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


@pytest.mark.wrong_input
def test_functions_that_are_refused(tmp_path):
    x, _ = examples()
    with pytest.raises(ValueError, match="`taps` are layers of a model"):
        build(logits_of, x, tmp_path / "cache", taps=["hidden"])
    with pytest.raises(ValueError, match=r"`teacher` must give arrays .* n=1 "):
        build(lambda batch: logits_of(3), x, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
