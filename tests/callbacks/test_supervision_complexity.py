"""SupervisionComplexity in real `fit`s, beside a Jacobian written out in NumPy."""

import csv
import math

import keras
import numpy as np
import pytest

from keras_kd import Distiller, OnlineTeacher, TeacherTrajectory, TrajectoryRecorder
from keras_kd.callbacks import SupervisionComplexity
from keras_kd.losses import SoftTargets

N, D, K = 24, 5, 3
RIDGE = 1e-3
RNG = np.random.default_rng(0)
X = RNG.standard_normal((N, D)).astype("float32")
Y = RNG.integers(0, K, N)
LOGITS = 3 * RNG.standard_normal((N, K)).astype("float32")
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def mlp(units, outputs=K, name=None):
    return keras.Sequential(
        [
            keras.Input((D,)),
            keras.layers.Dense(units, activation="tanh"),
            keras.layers.Dense(outputs),
        ],
        name=name,
    )


def compiled(model):
    # Steps large enough that the kernel of each epoch is another one.
    model.compile(keras.optimizers.SGD(0.5), loss=LOSS)
    return model


def forward(weights, x=X):
    w, b, v, c = (np.asarray(a, np.float64) for a in weights)
    hidden = np.tanh(x @ w + b)
    return hidden, hidden @ v + c


def ntk(weights, x=X):
    """The trace NTK of `mlp`, by the chain rule for each example and output."""
    v = np.asarray(weights[2], np.float64)
    hidden, outputs = forward(weights, x)
    kernel = np.zeros((len(x), len(x)))
    for o in range(outputs.shape[1]):
        slope = v[:, o] * (1 - hidden**2)
        first = np.einsum("nd,nh->ndh", x, slope).reshape(len(x), -1)
        jacobian = np.hstack([first, slope, hidden, np.ones((len(x), 1))])
        kernel += jacobian @ jacobian.T
    return kernel


def soft(logits, temperature):
    e = np.exp(np.asarray(logits, np.float64) / temperature)
    p = e / e.sum(1, keepdims=True)
    return p - 1 / p.shape[1]


def adjusted(weights, targets, outputs=K, ridge=RIDGE):
    kernel = ntk(weights) / outputs
    ridge = ridge * np.trace(kernel) / N
    energy = np.sum(targets * np.linalg.solve(kernel + ridge * np.eye(N), targets))
    return math.sqrt(energy * np.trace(kernel)) / N


def cosine(a, b):
    a, b = ntk(a).ravel(), ntk(b).ravel()
    return a @ b / math.sqrt((a @ a) * (b @ b))


ONEHOT = np.eye(K)[Y] - 1 / K


class Weights(keras.callbacks.Callback):
    """Keeps the student's weights before training and after each epoch."""

    def on_train_begin(self, logs=None):
        self.kept = [self.student().get_weights()]

    def on_epoch_end(self, epoch, logs=None):
        self.kept.append(self.student().get_weights())

    def student(self):
        return getattr(self.model, "student", self.model)


@pytest.fixture(scope="module")
def trajectory(tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher")
    keras.utils.set_random_seed(1)
    compiled(mlp(7)).fit(
        X, Y, epochs=3, batch_size=8, verbose=0, callbacks=[TrajectoryRecorder(folder)]
    )
    return TeacherTrajectory(folder)


def test_a_plain_model(tmp_path):
    student, fixed = compiled(mlp(6)), mlp(4)
    targets = {
        "labels": Y,
        "onehot": np.eye(K, dtype="float32")[Y],
        "logits": LOGITS,
        "model": fixed,
        "function": lambda x: np.sin(x[:, :K]),
    }
    watch = SupervisionComplexity(X, targets, temperature=2.0, teacher=fixed)
    weights, file = Weights(), tmp_path / "log.csv"
    history = student.fit(
        X,
        Y,
        epochs=3,
        batch_size=8,
        verbose=0,
        callbacks=[watch, weights, keras.callbacks.CSVLogger(str(file))],
    ).history
    rows = list(csv.DictReader(file.open()))

    wanted = {
        "labels": ONEHOT,
        "onehot": ONEHOT,
        "logits": soft(LOGITS, 2.0),
        "model": soft(forward(fixed.get_weights())[1], 2.0),
        "function": soft(np.sin(X[:, :K]), 2.0),
    }
    for name, target in wanted.items():
        expected = [adjusted(w, target) for w in weights.kept]
        key = f"complexity_{name}"
        np.testing.assert_allclose(watch.initial[key], expected[0], rtol=1e-4)
        np.testing.assert_allclose(history[key], expected[1:], rtol=1e-4)
        np.testing.assert_allclose(
            [float(row[key]) for row in rows], history[key], rtol=1e-12
        )
        assert [float(watch.complexities[e][name]) for e in range(4)] == [
            watch.initial[key],
            *history[key],
        ]
    assert np.ptp(history["complexity_logits"]) > 0.01
    trace = np.trace(ntk(weights.kept[-1])) / K
    ridge = watch.complexities[3]["labels"].ridge
    np.testing.assert_allclose(ridge, RIDGE * trace / N, rtol=1e-4)
    expected = [cosine(w, fixed.get_weights()) for w in weights.kept]
    np.testing.assert_allclose(watch.initial["ntk_similarity"], expected[0], rtol=1e-4)
    np.testing.assert_allclose(history["ntk_similarity"], expected[1:], rtol=1e-4)


def test_the_teacher_of_a_distiller_is_that_of_the_moment(trajectory, tmp_path):
    student = mlp(6)
    distiller = Distiller(
        trajectory.load(-1), student, SoftTargets(2.0), output_kind="categorical"
    )
    distiller.compile(keras.optimizers.SGD(0.5))
    watch = SupervisionComplexity(
        X,
        {"online": "teacher", "offline": trajectory.load(-1), "average": trajectory},
        teacher="teacher",
        temperature=2.0,
    )
    weights, file = Weights(), tmp_path / "log.csv"
    # The worst order: what reads logs first, and what changes the teacher last.
    log = keras.callbacks.CSVLogger(str(file))
    history = distiller.fit(
        X,
        epochs=5,
        batch_size=8,
        verbose=0,
        callbacks=[log, watch, weights, OnlineTeacher(trajectory)],
    ).history
    rows = list(csv.DictReader(file.open()))

    stages = [trajectory.load(i).get_weights() for i in range(len(trajectory))]
    logits = [soft(forward(stage)[1], 2.0) for stage in stages]
    # What the schedule starts with, and what was in use when each epoch ended.
    used = [0, *map(int, history["teacher_checkpoint"])]
    assert sorted(set(used)) == [0, 1, 2]

    def check(key, expected):
        np.testing.assert_allclose(watch.initial[key], expected[0], rtol=1e-4)
        np.testing.assert_allclose(history[key], expected[1:], rtol=1e-4)
        np.testing.assert_allclose([float(row[key]) for row in rows], history[key])

    pairs = list(zip(weights.kept, used, strict=True))
    check("complexity_online", [adjusted(w, logits[i]) for w, i in pairs])
    check("complexity_offline", [adjusted(w, logits[-1]) for w, _ in pairs])
    average = np.mean(logits, axis=0)
    check("complexity_average", [adjusted(w, average) for w, _ in pairs])
    check("ntk_similarity", [cosine(w, stages[i]) for w, i in pairs])


def test_residuals_are_to_the_logits_of_the_moment():
    student = compiled(mlp(6))
    watch = SupervisionComplexity(
        X, {"a": LOGITS}, temperature=2.0, kind="logits", residual=True
    )
    weights = Weights()
    history = student.fit(
        X, Y, epochs=2, batch_size=8, verbose=0, callbacks=[watch, weights]
    ).history

    def expected(w):
        rest = (LOGITS - forward(w)[1]) / 2
        return adjusted(w, rest - rest.mean(1, keepdims=True))

    values = [watch.initial["complexity_a"], *history["complexity_a"]]
    np.testing.assert_allclose(values, [expected(w) for w in weights.kept], rtol=1e-4)


def test_one_output_and_another_ridge():
    student = mlp(6, outputs=1)
    student.compile("sgd", keras.losses.BinaryCrossentropy(from_logits=True))
    y = (Y > 0).astype("int32")
    watch = SupervisionComplexity(
        X, {"labels": y, "logit": LOGITS[:, 0]}, relative_ridge=0.1
    )
    weights = Weights()
    student.fit(X, y, epochs=1, verbose=0, callbacks=[watch, weights])
    probability = 1 / (1 + np.exp(-LOGITS[:, :1].astype("float64")))
    for name, target in {"labels": y[:, None], "logit": probability}.items():
        expected = adjusted(weights.kept[0], target - 0.5, outputs=1, ridge=0.1)
        value = watch.initial[f"complexity_{name}"]
        np.testing.assert_allclose(value, expected, rtol=1e-4)


def test_every_other_epoch(tmp_path):
    student, file = compiled(mlp(4)), tmp_path / "log.csv"
    watch = SupervisionComplexity(X, {"labels": Y}, every=2)
    log = keras.callbacks.CSVLogger(str(file))
    history = student.fit(
        X, Y, epochs=6, initial_epoch=1, verbose=0, callbacks=[watch, log]
    ).history
    assert list(watch.complexities) == [0, 2, 4, 6]
    measured = np.isfinite(history["complexity_labels"])
    assert measured.tolist() == [True, False, True, False, True]
    rows = list(csv.DictReader(file.open()))
    assert np.isfinite([float(r["complexity_labels"]) for r in rows]).tolist() == list(
        measured
    )


def test_training_is_bitwise_what_it_is_without():
    def train(*callbacks):
        keras.utils.set_random_seed(3)
        student = keras.Sequential(
            [
                keras.Input((D,)),
                keras.layers.Dense(8, activation="relu"),
                keras.layers.BatchNormalization(),
                keras.layers.Dropout(0.3),
                keras.layers.Dense(K),
            ]
        )
        distiller = Distiller(
            mlp(4), student, SoftTargets(2.0), alpha=0.5, output_kind="categorical"
        )
        distiller.compile(keras.optimizers.Adam(0.01), loss=LOSS)
        history = distiller.fit(
            X, Y, epochs=3, batch_size=8, verbose=0, callbacks=callbacks
        ).history
        state = [*distiller.variables, *distiller.optimizer.variables]
        state += distiller.teacher.variables
        return [keras.ops.convert_to_numpy(v) for v in state], history["loss"]

    watch = SupervisionComplexity(X, {"t": "teacher", "y": Y}, teacher="teacher")
    (plain, losses), (watched, same) = train(), train(watch)
    assert losses == same
    assert len(plain) == len(watched)
    assert all(map(np.array_equal, plain, watched))
    assert len(watch.complexities) == 4


@pytest.mark.wrong_input
@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"every": 0}, ValueError, "`every` must be an integer >= 1. Received: eve"),
        ({"every": 1.5}, ValueError, "`every` must be"),
        ({"temperature": 0}, ValueError, "`temperature` must be"),
        ({"relative_ridge": -1}, ValueError, "`relative_ridge` must be"),
        ({"kind": "odds"}, ValueError, "`kind` must be"),
        ({"residual": True}, ValueError, "needs `kind='logits'`"),
        ({"x": X + np.nan}, ValueError, "`x` must be finite"),
        ({"targets": {}}, ValueError, "at least one target"),
        ({"targets": Y}, TypeError, "`targets` must be a dictionary"),
        ({"targets": {"a": Y[1:]}}, ValueError, "each of the 24 examples"),
        ({"targets": {"a": LOGITS * np.inf}}, ValueError, r"targets\['a'\]` must be f"),
        ({"targets": {"a": "techer"}}, ValueError, "Received: 'techer'"),
        ({"targets": {"a": None}}, TypeError, "Received: NoneType"),
        ({"targets": {3: Y}}, ValueError, "must be strings. Received: 3"),
        ({"teacher": "techer"}, TypeError, "`teacher` must be"),
    ],
)
def test_errors_at_construction(kwargs, error, message):
    with pytest.raises(error, match=message):
        SupervisionComplexity(**{"x": X, "targets": {"labels": Y}, **kwargs})


@pytest.mark.wrong_input
@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"targets": {"a": "teacher"}}, r"`targets\['a'\]='teacher'` is the teacher"),
        ({"targets": {}, "teacher": "teacher"}, "`teacher='teacher'` is the teacher"),
        ({"targets": {"a": LOGITS[:, :2]}}, r"targets\['a'\]` must be of shape"),
        ({"targets": {"a": Y + 1}}, r"targets\['a'\]`: `labels` must be integers"),
        ({"x": X[:, :2]}, "expected axis|shape|dimension|ncompatible"),
    ],
)
def test_errors_when_training_begins(kwargs, message):
    student = compiled(mlp(4))
    before = student.get_weights()
    watch = SupervisionComplexity(**{"x": X, "targets": {"labels": Y}, **kwargs})
    with pytest.raises(ValueError, match=message):
        student.fit(X, Y, verbose=0, callbacks=[watch])
    assert all(map(np.array_equal, before, student.get_weights()))
