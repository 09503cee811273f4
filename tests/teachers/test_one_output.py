"""A teacher of one of its outputs teaches as if it had no other."""

import keras
import numpy as np
import pytest
from tiny_caches import BATCH, build, examples, network

from keras_kd import Distiller, SupervisionCache
from keras_kd.losses import FeatureHint, SoftTargets
from keras_kd.teachers import mean, output_of

CLASSES = 4


@keras.saving.register_keras_serializable(package="tests")
class TwoHeads(keras.Model):
    """A dictionary of outputs, of which nothing is known before it runs."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.main = network(name="main")
        self.auxiliary = keras.layers.Dense(7)

    def call(self, x):
        return {"logits": self.main(x), "auxiliary": self.auxiliary(x)}


def functional(form):
    x = keras.Input((6,))
    hidden = keras.layers.Dense(8, activation="relu", name="hidden")(x)
    logits = keras.layers.Dense(CLASSES, name="main")(hidden)
    auxiliary = keras.layers.Dense(7, name="auxiliary")(x)
    outputs = [logits, auxiliary]
    if form == "dict":
        outputs = {"logits": logits, "auxiliary": auxiliary}
    return keras.Model(x, outputs, name="teacher")


CASES = {
    "dict": (lambda: functional("dict"), "logits"),
    "list": (lambda: functional("list"), "main"),
    "index": (lambda: functional("list"), np.int64(0)),
    "from the end": (lambda: functional("list"), -2),
    "subclassed": (TwoHeads, "logits"),
}


def logits_alone(teacher, x):
    said = teacher.predict(x, batch_size=BATCH, verbose=0)
    return said["logits"] if isinstance(said, dict) else said[0]


@pytest.mark.parametrize("case", CASES)
def test_it_teaches_as_that_output_alone(case, tmp_path):
    make, which = CASES[case]
    (x, _), teacher, student = examples(40), make(), network()
    teacher(x[:1])
    expected, start = logits_alone(teacher, x), student.get_weights()
    one = output_of(teacher, which)
    np.testing.assert_allclose(one.predict(x, verbose=0), expected, atol=1e-6)
    given = SupervisionCache.from_logits(
        x, expected, tmp_path / "given", dtype="float32", progress=False
    )
    before, learned = teacher.get_weights(), []
    for source in (one, build(one, x, tmp_path / "built"), given):
        student.set_weights(start)
        distiller = Distiller(
            source, student, SoftTargets(2.0), output_kind="categorical"
        )
        distiller.compile("sgd")
        distiller.fit(x, batch_size=BATCH, epochs=2, shuffle=False, verbose=0)
        learned.append(student.get_weights())
    for other in learned[1:]:
        for a, b in zip(learned[0], other, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6)
    for a, b in zip(before, teacher.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_layers_are_tapped_and_means_are_taken():
    (x, _), teacher = examples(), functional("dict")
    one = output_of(teacher, "logits")
    hint = FeatureHint("teacher/hidden", "hidden")
    distiller = Distiller(one, network(), hint, output_kind="categorical")
    distiller.compile("sgd")
    assert distiller.fit(x, verbose=0).history["distillation_loss"][0] > 0
    both = mean([one, output_of(functional("list"), 0)]).predict(x, verbose=0)
    assert both.shape == (44, CLASSES)


@pytest.mark.parametrize("case", ["dict", "subclassed"])
def test_it_is_saved_with_a_distiller(case, tmp_path):
    make, which = CASES[case]
    (x, _), teacher = examples(), make()
    teacher(x[:1])
    distiller = Distiller(
        output_of(teacher, which),
        network(),
        SoftTargets(),
        output_kind="categorical",
        save_teacher=True,
    )
    distiller.compile("sgd")
    distiller.fit(x, verbose=0)
    distiller.save(tmp_path / "distiller.keras")
    loaded = keras.saving.load_model(tmp_path / "distiller.keras")
    np.testing.assert_allclose(
        loaded.teacher.predict(x, verbose=0), logits_alone(teacher, x), atol=1e-6
    )


@pytest.mark.wrong_input
@pytest.mark.parametrize(
    ("which", "message"),
    [
        ("head", r"'teacher', \['auxiliary', 'logits'\], or an index. .*which='head'"),
        (2, "Received: which=2"),
        (1.0, "its index. Received: which=1.0"),
        (None, "Received: which=None"),
    ],
)
def test_outputs_that_are_not_there(which, message):
    with pytest.raises(ValueError, match=message):
        output_of(functional("dict"), which)


@pytest.mark.wrong_input
def test_what_is_no_teacher():
    for teacher in (3, None, keras.Sequential([keras.layers.Dense(2)])):
        with pytest.raises(ValueError, match="`teacher` must be"):
            output_of(teacher, 0)


@pytest.mark.wrong_input
def test_a_distiller_says_how_to_choose():
    with pytest.raises(ValueError, match=r"output_of\(teacher, name_or_index\)"):
        Distiller(functional("list"), network(), SoftTargets())
