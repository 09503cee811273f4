"""Data, and losses of them, that would train on something else than is meant."""

import warnings

import keras
import numpy as np
import pytest
from networks import CLASSES, convnet, images, plain, sparse_loss

from keras_kd import Distiller, SupervisionCache
from keras_kd.losses import DIST, LogitMSE, RelationalKD

NOT_MEANT = {
    "weights without labels": ({"y": None}, "`sample_weight` needs labels"),
    "negative weights": (
        {"sample_weight": [1.0, -1.0, 1.0, 1.0]},
        r"1 others, -1.0 at \(1,\) first",
    ),
    "weights of NaN": (
        {"sample_weight": [1.0, 1.0, np.nan, np.inf]},
        r"2 others, nan at \(2,\) first",
    ),
    "weights that are words": ({"sample_weight": list("abcd")}, "must hold numbers"),
    "batches of nothing": ({"batch_size": 0}, "`batch_size` must be"),
    "complex inputs": ({"x": np.ones((4, 8, 8, 3), "complex64")}, "must be real"),
    "complex labels": ({"y": np.ones(4, "complex64")}, "must be real"),
}


@pytest.mark.wrong_input
@pytest.mark.parametrize("held", [False, True], ids=["live", "cached"])
@pytest.mark.parametrize("case", NOT_MEANT)
def test_what_fit_and_evaluate_refuse(case, held, tmp_path):
    x, y = images(4)
    changed, message = NOT_MEANT[case]
    teacher = plain()
    if held:
        teacher = SupervisionCache.build(
            teacher, x, tmp_path / "cache", output_kind="categorical", progress=False
        )
    distiller = Distiller(teacher, plain(), LogitMSE(), alpha=0.5)
    distiller.compile("sgd", sparse_loss())
    data = {"x": x, "y": y, "sample_weight": np.ones(4), **changed}
    if isinstance(data["sample_weight"], list):
        data["sample_weight"] = np.array(data["sample_weight"])
    before = distiller.student.get_weights()
    for run in (distiller.fit, distiller.evaluate):
        with pytest.raises(ValueError, match=message):
            run(**data, verbose=0)
    for one, other in zip(before, distiller.student.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.wrong_input
@pytest.mark.parametrize("weight", [-1.0, float("nan"), "1"])
def test_weights_of_classes(weight):
    x, y = images(4)
    distiller = Distiller(plain(), plain(), LogitMSE(), alpha=0.5)
    distiller.compile("sgd", sparse_loss())
    with pytest.raises(ValueError, match=r"`class_weight\[1\]` must be"):
        distiller.fit(x, y, class_weight={0: 1.0, 1: weight}, verbose=0)


@pytest.mark.wrong_input
@pytest.mark.one_backend
@pytest.mark.parametrize("loss", [DIST, RelationalKD])
def test_batches_of_one_example_have_no_relations(loss):
    x, _ = images(4)
    distiller = Distiller(plain(), plain(), loss())
    distiller.compile("sgd")
    message = rf"{loss.__name__} relates .* `batch_size` must be at least 2"
    with pytest.raises(ValueError, match=message):
        distiller.fit(x, batch_size=1, verbose=0)


def student_of_any_size():
    return keras.Sequential(
        [
            keras.Input((None, None, 3)),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(CLASSES),
        ]
    )


@pytest.mark.wrong_input
def test_a_teacher_at_a_size_that_it_was_not_made_for():
    x = np.ones((4, 6, 6, 3), "float32")
    for teacher in (
        convnet(),
        keras.Sequential([keras.Input((8, 8, 3)), convnet()]),
    ):
        distiller = Distiller(teacher, student_of_any_size(), LogitMSE())
        distiller.compile("sgd")
        with pytest.raises(ValueError, match=r"\(.*, 8, 8, 3\).*\(.*, 6, 6, 3\)"):
            distiller.fit(x, verbose=0)
    resized = keras.Sequential(
        [keras.Input((6, 6, 3)), keras.layers.Resizing(8, 8), convnet()]
    )
    distiller = Distiller(resized, student_of_any_size(), LogitMSE())
    distiller.compile("sgd")
    assert np.isfinite(distiller.fit(x, verbose=0).history["loss"][0])


@pytest.mark.parametrize(
    ("loss", "student", "form", "said"),
    [
        ("sparse_categorical_crossentropy", plain, "logits", "takes probabilities"),
        (
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            lambda: plain(activation="softmax"),
            "probabilities",
            "takes logits",
        ),
        (sparse_loss(), plain, "logits", None),
        ("mse", plain, "logits", None),
    ],
)
def test_a_compiled_loss_of_another_form(loss, student, form, said):
    x, y = images(4)
    distiller = Distiller(plain(), student(), LogitMSE(), student_outputs=form)
    distiller.compile("sgd", loss)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        distiller.fit(x, np.eye(CLASSES)[y] if loss == "mse" else y, verbose=0)
    told = [str(w.message) for w in caught if "student_outputs=" in str(w.message)]
    assert (said is None and not told) or (len(set(told)) == 1 and said in told[0]), (
        told
    )


def test_a_regressor_that_is_off_everywhere_has_the_squared_error_and_no_fidelity():
    x = np.linspace(-1, 1, 8, dtype="float32")[:, None]

    def line(bias):
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(3)])
        model.set_weights([np.ones((1, 3)), np.full(3, bias)])
        return model

    distiller = Distiller(line(0.0), line(5.0))
    distiller.compile(keras.optimizers.SGD(0.0), "mse")
    logs = distiller.fit(x, verbose=0).history
    assert logs["distillation_loss"][0] == pytest.approx(25.0)
    assert "fidelity" not in logs


def spoiled(n=12):
    """Three batches of four, the second of which holds NaN."""
    x, y = images(n)
    x[5, 0, 0, 0] = np.nan
    return x, y


@pytest.mark.parametrize("form", ["arrays", "generator"])
def test_nan_in_a_later_batch_is_said_once(form):
    x, y = spoiled()
    distiller = Distiller(plain(), plain(), LogitMSE(), alpha=0.5)
    distiller.compile("sgd", sparse_loss())
    data = {"x": x, "y": y, "batch_size": 4, "shuffle": False}
    if form == "generator":
        starts = [0, 4, 8] * 2
        data = {
            "x": ((x[i : i + 4], y[i : i + 4]) for i in starts),
            "steps_per_epoch": 3,
        }
    spoiled_by = r"Epoch 1 ended with .*(loss=nan|weights 'sequential\w*/conv1/kernel')"
    with pytest.warns(UserWarning, match=spoiled_by) as found:
        distiller.fit(**data, epochs=2, verbose=0)
    assert sum("ended with" in str(w.message) for w in found) == 1


def test_each_fit_has_its_word():
    x, y = spoiled()
    # Without a ReLU, which on TensorFlow may make zero of NaN.
    layers = [keras.layers.Flatten(), keras.layers.Dense(CLASSES)]
    student = keras.Sequential([keras.Input((8, 8, 3)), *layers])
    distiller = Distiller(plain(), student, LogitMSE(), alpha=0.5)
    distiller.compile("sgd", sparse_loss())
    given = keras.callbacks.CallbackList([], model=distiller)
    clean = np.nan_to_num(x)
    with pytest.warns(UserWarning, match="val_loss=nan.* the validation data hold"):
        distiller.fit(clean, y, 4, validation_data=(x, y), callbacks=given, verbose=0)
    with pytest.warns(UserWarning, match=r"\bloss=nan.*a batch holds"):
        distiller.fit(x, y, 4, shuffle=False, callbacks=given, verbose=0)


class Sometimes(keras.callbacks.Callback):
    """Logs NaN where it has measured nothing."""

    writes_epoch_logs = True

    def on_epoch_end(self, epoch, logs=None):
        logs["complexity"] = float("nan")


def test_ordinary_training_has_no_word():
    x, y = images(8)
    distiller = Distiller(plain(), plain(), LogitMSE(), alpha=0.5)
    distiller.compile("sgd", sparse_loss())
    ran = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: None)
    given = keras.callbacks.CallbackList([ran], add_history=True, model=distiller)
    for callbacks in (None, ran, [ran, Sometimes()], (ran,), given, given):
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="Epoch")
            history = distiller.fit(x, y, 4, verbose=0, callbacks=callbacks)
        assert history.history["loss"]
