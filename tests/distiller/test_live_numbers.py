"""Numbers that change while a distiller trains: every step has those of the moment."""

import keras
import numpy as np
import pytest
from networks import images, plain, sparse_loss

from keras_kd import Distiller
from keras_kd.callbacks import Anneal
from keras_kd.losses import LogitMSE, SoftTargets


def softened_kl(teacher, student, temperature):
    """`tau^2 KL`, in float64, by its definition."""

    def log_softmax(z):
        z = z.astype("float64") / temperature
        z -= z.max(axis=-1, keepdims=True)
        return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))

    p, q = log_softmax(teacher), log_softmax(student)
    return temperature**2 * (np.exp(p) * (p - q)).sum(axis=-1).mean()


def traced(distiller):
    """Counts how often the loss is built: for every step where nothing is compiled."""
    calls, before = [], distiller.compute_loss

    def compute_loss(*args, **kwargs):
        calls.append(1)
        return before(*args, **kwargs)

    object.__setattr__(distiller, "compute_loss", compute_loss)
    return calls


class Keep(keras.callbacks.Callback):
    def __init__(self, before=None):
        super().__init__()
        self.logs, self.before = [], before

    def on_train_batch_begin(self, batch, logs=None):
        if self.before:
            self.before(self.model, batch)

    def on_train_batch_end(self, batch, logs=None):
        self.logs.append({k: float(v) for k, v in logs.items()})


def test_every_batch_has_the_temperature_alpha_and_weights_of_the_moment():
    x, y = images(8)
    teacher, student = plain(), plain()
    distiller = Distiller(
        teacher, student, {"soft": SoftTargets(2.0), "mse": LogitMSE()}, alpha=0.5
    )
    distiller.compile(keras.optimizers.SGD(0.0), sparse_loss())
    values = [(8.0, 0.25, [1.0, 2.0]), (1.0, 0.75, [3.0, 0.0]), (4.0, 1.0, [1.0, 1.0])]

    def change(model, batch):
        temperature, alpha, weights = values[batch]
        model.distillation_losses[0].temperature = temperature
        model.alpha = alpha
        model.distillation_loss_weights = weights

    calls = traced(distiller)
    keep = Keep(change)
    data = (np.concatenate([x] * 3), np.concatenate([y] * 3))
    distiller.fit(*data, batch_size=8, shuffle=False, verbose=0, callbacks=[keep])
    g, f = (m.predict(x, verbose=0) for m in (teacher, student))
    labels = float(sparse_loss()(y, f))
    mse = float(LogitMSE().compute_loss(g, f))
    totals = []
    for temperature, alpha, weights in values:
        soft = softened_kl(g, f, temperature)
        distilled = weights[0] * soft + weights[1] * mse
        totals.append(alpha * distilled + (1 - alpha) * labels)
    # Logs are means over the batches so far.
    expected = np.cumsum(totals) / np.arange(1, 4)
    np.testing.assert_allclose([log["loss"] for log in keep.logs], expected, rtol=1e-4)
    if keras.backend.backend() != "torch":
        # Keras on JAX looks at the loss once more, to build it.
        assert len(calls) <= 2


def test_a_change_between_fits_and_to_evaluation():
    x, _ = images(8)
    teacher, student = plain(), plain()
    loss = SoftTargets(2.0)
    distiller = Distiller(teacher, student, loss, output_kind="categorical")
    distiller.compile(keras.optimizers.SGD(0.0))
    g, f = (m.predict(x, verbose=0) for m in (teacher, student))
    for temperature in (2.0, 16.0):
        loss.temperature = temperature
        expected = softened_kl(g, f, temperature)
        fitted = distiller.fit(x, verbose=0).history["distillation_loss"][0]
        seen = distiller.evaluate(x, verbose=0, return_dict=True)["distillation_loss"]
        np.testing.assert_allclose([fitted, seen], expected, rtol=1e-4)
    assert distiller.get_config()["distillation_losses"]["soft_targets"]["config"][
        "temperature"
    ] == pytest.approx(16.0)


def test_alpha_of_1_needs_no_labels_and_leaves_1_in_between():
    x, y = images(8)
    distiller = Distiller(plain(), plain(), output_kind="categorical")
    distiller.compile(keras.optimizers.SGD(0.0), sparse_loss())
    distiller.fit(x, verbose=0)
    distiller.alpha = 0.25
    with pytest.raises(
        ValueError, match=r"alpha=0\.25 mixes in the loss of the labels"
    ):
        distiller.fit(x, verbose=0)
    logs = distiller.fit(x, y, verbose=0).history
    expected = 0.25 * logs["distillation_loss"][0] + 0.75 * logs["student_loss"][0]
    assert logs["loss"][0] == pytest.approx(expected, rel=1e-5)


class Noting(SoftTargets):
    def compute_loss(self, teacher_outputs, student_outputs, **kwargs):
        self.called = True
        return super().compute_loss(teacher_outputs, student_outputs, **kwargs)


def test_what_a_loss_notes_in_itself_stays():
    x, _ = images(8)
    loss = Noting(2.0)
    distiller = Distiller(plain(), plain(), loss, output_kind="categorical")
    distiller.compile("sgd")
    distiller.fit(x, verbose=0)
    assert loss.called
    assert loss.temperature == 2.0


def test_anneal_keeps_the_step_where_fit_goes_on():
    x, y = images(8)
    distiller = Distiller(plain(), plain(), alpha=1.0)
    distiller.compile(keras.optimizers.SGD(0.0), sparse_loss())
    anneal = Anneal("alpha", lambda step: 1 - step / 8)
    fit = {"batch_size": 4, "verbose": 0, "callbacks": [anneal]}
    first = distiller.fit(x, y, epochs=2, **fit).history["alpha"]
    later = distiller.fit(x, y, epochs=4, initial_epoch=2, **fit).history["alpha"]
    assert first + later == [7 / 8, 5 / 8, 3 / 8, 1 / 8]
    assert distiller.get_config()["alpha"] == 1 / 8


@pytest.mark.wrong_input
@pytest.mark.parametrize("value", [7, -0.1, float("nan"), "0.5", None])
def test_an_alpha_that_is_none_is_refused_and_the_old_one_stays(value):
    distiller = Distiller(plain(), plain(), alpha=0.5)
    with pytest.raises(ValueError, match=r"`alpha` must be in \[0, 1\]"):
        distiller.alpha = value
    assert distiller.alpha == 0.5


@pytest.mark.wrong_input
def test_numbers_out_of_their_range_end_fit():
    x, _ = images(8)
    loss = SoftTargets()
    distiller = Distiller(plain(), plain(), loss, output_kind="categorical")
    distiller.compile("sgd")
    loss.temperature = -1
    with pytest.raises(ValueError, match="`temperature` must be a finite number > 0"):
        distiller.fit(x, verbose=0)
    with pytest.raises(ValueError, match="`distillation_loss_weights`"):
        distiller.distillation_loss_weights = [-1.0]


@pytest.mark.wrong_input
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("alpha", 0.5), "`schedule` must be a callable"),
        ((3, float), "`number` must be a name"),
        (("heat", float), "`number` must be one of"),
        (("temperature", float, "other"), "`loss` must be one of"),
    ],
)
def test_what_cannot_be_annealed(arguments, message):
    distiller = Distiller(plain(), plain(), output_kind="categorical")
    distiller.compile("sgd")
    with pytest.raises(ValueError, match=message):
        distiller.fit(images(4)[0], verbose=0, callbacks=[Anneal(*arguments)])
