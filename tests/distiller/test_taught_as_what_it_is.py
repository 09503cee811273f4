"""Every kind of output is taught as what it is, against formulas by hand."""

import keras
import numpy as np
import pytest
from scipy.special import expit, rel_entr, softmax

from keras_kd import Distiller, SupervisionCache
from keras_kd.losses import (
    DIST,
    DecoupledKD,
    FeatureHint,
    LogitMSE,
    RelationalKD,
    SoftTargets,
)
from keras_kd.teachers import (
    OnlineTeacher,
    TeacherTrajectory,
    TrajectoryRecorder,
    mean,
)
from keras_kd.teachers.cache.packing import divergence

RNG = np.random.default_rng(0)
X = RNG.normal(size=(32, 6)).astype("float32")
LABELS = (RNG.normal(size=(32, 4)) > 0).astype("float32")


def network(units=4, activation=None, width=5):
    inputs = keras.Input((6,))
    hidden = keras.layers.Dense(width, activation="tanh")(inputs)
    outputs = keras.layers.Dense(units, activation=activation, name="out")(hidden)
    return keras.Model(inputs, outputs)


def detector(width):
    inputs = keras.Input((6,))
    hidden = keras.layers.Dense(width, activation="tanh")(inputs)
    return keras.Model(
        inputs,
        {
            "box": keras.layers.Dense(4, name="box")(hidden),
            "label": keras.layers.Dense(3, name="label")(hidden),
        },
    )


def spread(model, factor=3.0):
    """Outputs that are worth comparing."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dense) and layer.name != "dense":
            layer.kernel.assign(layer.kernel * factor)
    return model


def evaluated(distiller, *data):
    logs = distiller.evaluate(*data, batch_size=32, verbose=0, return_dict=True)
    return {name: float(value) for name, value in logs.items()}


def bernoulli_kl(g, f, temperature=1.0):
    p, q = (expit(z.astype(float) / temperature) for z in (g, f))
    return (rel_entr(p, q) + rel_entr(1 - p, 1 - q)).sum(-1).mean()


def test_a_set_of_labels_learns_by_a_sum_of_bernoulli_divergences():
    teacher, student = spread(network(width=7)), network()
    distiller = Distiller(teacher, student, SoftTargets(2.0))
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    distiller.compile(keras.optimizers.Adam(0.05), loss)
    logs = evaluated(distiller, X, LABELS)
    g, f = (model.predict(X, verbose=0) for model in (teacher, student))
    assert logs["distillation_loss"] == pytest.approx(
        4 * bernoulli_kl(g, f, 2.0), rel=1e-4
    )
    assert logs["fidelity"] == pytest.approx(np.mean((g > 0) == (f > 0)), abs=1e-6)
    assert distiller.output_kind == ["bernoulli"]
    history = distiller.fit(X, LABELS, epochs=30, verbose=0).history
    assert history["distillation_loss"][-1] < 0.7 * history["distillation_loss"][0]


def test_sigmoid_probabilities_are_a_set_of_labels():
    logits = spread(network(width=7))
    teacher = network(activation="sigmoid", width=7)
    teacher.set_weights(logits.get_weights())
    student = network()
    for losses in (SoftTargets(1.0), LogitMSE()):
        distiller = Distiller(teacher, student, losses, teacher_outputs="probabilities")
        distiller.compile("sgd")
        value = evaluated(distiller, X)["distillation_loss"]
        g, f = (model.predict(X, verbose=0) for model in (logits, student))
        by_hand = bernoulli_kl(g, f)
        if isinstance(losses, LogitMSE):
            by_hand = np.mean((g - f) ** 2)
        assert value == pytest.approx(by_hand, rel=1e-3)


@pytest.mark.parametrize("units", [1, 4])
def test_values_learn_by_their_squared_error(units):
    teacher, student = spread(network(units, width=7)), network(units)
    distiller = Distiller(teacher, student, SoftTargets(4.0))
    distiller.compile("sgd", loss="mse")
    logs = evaluated(distiller, X, LABELS[:, :units])
    g, f = (model.predict(X, verbose=0) for model in (teacher, student))
    assert logs["distillation_loss"] == pytest.approx(np.mean((g - f) ** 2), rel=1e-5)
    assert "fidelity" not in logs
    history = distiller.fit(X, LABELS[:, :units], epochs=2, verbose=0).history
    assert "fidelity" not in history


@pytest.mark.parametrize("declared", [True, False])
def test_a_kind_for_each_named_output(declared):
    teacher, student = spread(detector(7)), detector(5)
    sparse = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    losses = {"box": "mse", "label": sparse}
    kinds = {"box": "continuous", "label": "categorical"}
    distiller = Distiller(
        teacher, student, SoftTargets(2.0), output_kind=kinds if declared else None
    )
    distiller.compile("sgd", loss=None if declared else losses)
    y = {"box": LABELS, "label": RNG.integers(0, 3, 32)}
    logs = evaluated(distiller, X, y)
    g, f = (model.predict(X, verbose=0) for model in (teacher, student))
    p, q = (softmax(z["label"].astype(float) / 2, axis=-1) for z in (g, f))
    by_hand = np.mean((g["box"] - f["box"]) ** 2) + 4 * rel_entr(p, q).sum(-1).mean()
    assert logs["distillation_loss"] == pytest.approx(by_hand, rel=1e-4)
    agree = np.mean(g["label"].argmax(-1) == f["label"].argmax(-1))
    assert logs["fidelity"] == logs["label_fidelity"] == pytest.approx(agree, abs=1e-6)
    assert "box_fidelity" not in logs


@pytest.mark.wrong_input
def test_where_nothing_tells_one_error_says_what_to_write():
    student = network()
    before = student.get_weights()
    distiller = Distiller(network(width=7), student)
    distiller.compile("sgd")
    for train in (distiller.fit, distiller.train_on_batch):
        with pytest.raises(ValueError, match=r"`output_kind` must say.*4 units"):
            train(X)
    for one, other in zip(before, student.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    # What was compiled since tells.
    distiller.compile("sgd", keras.losses.CategoricalCrossentropy(from_logits=True))
    distiller.fit(X, verbose=0)
    assert distiller.output_kind == ["categorical"]


def test_a_compiled_teacher_tells():
    teacher = network(width=7)
    teacher.compile("sgd", keras.losses.BinaryCrossentropy(from_logits=True))
    distiller = Distiller(teacher, network())
    distiller.compile("sgd")
    distiller.fit(X, verbose=0)
    assert distiller.output_kind == ["bernoulli"]


@pytest.mark.wrong_input
def test_student_and_teacher_that_say_different_things():
    teacher = network(width=7)
    teacher.compile("sgd", "mse")
    distiller = Distiller(teacher, network())
    distiller.compile("sgd", keras.losses.BinaryCrossentropy(from_logits=True))
    with pytest.raises(ValueError, match=r"is bernoulli by the student.*continuous"):
        distiller.fit(X, LABELS, verbose=0)
    said = Distiller(teacher, network(), output_kind="bernoulli")
    said.compile("sgd", keras.losses.BinaryCrossentropy(from_logits=True))
    said.fit(X, LABELS, verbose=0)


@pytest.mark.wrong_input
@pytest.mark.parametrize("loss", [DecoupledKD(), DIST()])
def test_losses_of_classes_refuse_other_outputs(loss):
    for compiled, kind in (
        (keras.losses.BinaryCrossentropy(from_logits=True), "bernoulli"),
        ("mse", "continuous"),
    ):
        distiller = Distiller(network(width=7), network(), loss)
        distiller.compile("sgd", compiled)
        with pytest.raises(ValueError, match=f"probabilities of classes.*{kind}"):
            distiller.fit(X, LABELS, verbose=0)
    # They say themselves what the outputs are.
    y = RNG.integers(0, 4, 32)
    distiller = Distiller(network(width=7), network(), loss)
    distiller.compile("sgd")
    distiller.fit(X, y, verbose=0)
    assert distiller.output_kind == ["categorical"]


WRONG = {
    "a word": ({"output_kind": "softmax"}, r"`output_kind` must be one of.*softmax"),
    "a name": (
        {"output_kind": {"logits": "categorical"}},
        r"must name outputs of the student, \['out'\].*logits",
    ),
    "a number of kinds": (
        {"output_kind": ["categorical", "continuous"]},
        "`output_kind` must have one kind for each of the 1 outputs",
    ),
    "one unit": ({"output_kind": "categorical", "units": 1}, "is always 1"),
}


@pytest.mark.wrong_input
@pytest.mark.parametrize("case", WRONG)
def test_wrong_kinds(case):
    arguments, message = WRONG[case]
    arguments = dict(arguments)
    units = arguments.pop("units", 4)

    def trained():
        distiller = Distiller(network(units, width=7), network(units), **arguments)
        distiller.compile("sgd")
        distiller.fit(X, verbose=0)

    with pytest.raises(ValueError, match=message):
        trained()


def test_kinds_travel_with_trajectories_caches_and_files(tmp_path):
    teacher = network(width=7)
    teacher.compile("sgd", keras.losses.BinaryCrossentropy(from_logits=True))
    recorder = TrajectoryRecorder(tmp_path / "teacher")
    teacher.fit(X, LABELS, epochs=2, verbose=0, callbacks=[recorder])
    trajectory = TeacherTrajectory(tmp_path / "teacher")
    assert trajectory.output_kinds == ["bernoulli"]
    cache = SupervisionCache.build(
        trajectory, X, tmp_path / "cache", dtype="float32", progress=False
    )
    assert cache.output_kinds == ["bernoulli"]
    student = network()
    distiller = Distiller(cache, student, SoftTargets(1.0), save_teacher=False)
    distiller.compile("sgd")
    logs = evaluated(distiller, X)
    g, f = (model.predict(X, verbose=0) for model in (teacher, student))
    assert logs["distillation_loss"] == pytest.approx(bernoulli_kl(g, f), rel=1e-4)
    distiller.fit(X, verbose=0, callbacks=[OnlineTeacher(cache)])
    distiller.save(tmp_path / "distiller.keras")
    loaded = keras.saving.load_model(tmp_path / "distiller.keras")
    assert loaded.output_kind == ["bernoulli"]
    with pytest.raises(ValueError, match=r"`top_k` keeps the largest.*bernoulli"):
        SupervisionCache.build(teacher, X, tmp_path / "b", top_k=2, progress=False)


def test_one_unit_teachers_have_a_divergence():
    g = RNG.normal(size=(9, 1)) * 3
    for wrong in (-g, g + 1):
        found = divergence(g, wrong, 2.0)
        assert found == pytest.approx(bernoulli_kl(g, wrong, 2.0))
        assert found > 0.01


def heads(names, width=5, activation=None):
    inputs = keras.Input((6,))
    hidden = keras.layers.Dense(width, activation="tanh")(inputs)
    return keras.Model(
        inputs,
        [keras.layers.Dense(3, activation, name=name)(hidden) for name in names],
    )


def test_kinds_are_named_by_the_outputs_of_the_student():
    teacher, student = heads(["t_box", "t_class"]), heads(["s_box", "s_class"])
    kinds = {"s_box": "continuous", "s_class": "categorical"}
    distiller = Distiller(teacher, student, output_kind=kinds)
    distiller.compile("sgd")
    distiller.fit(X, verbose=0)
    assert distiller.output_kind == ["continuous", "categorical"]
    # The teacher's compiled loss has names of its own.
    teacher.compile("sgd", {"t_box": "mse", "t_class": "categorical_crossentropy"})
    distiller = Distiller(teacher, heads(["s_box", "s_class"]))
    distiller.compile("sgd")
    distiller.fit(X, verbose=0)
    assert distiller.output_kind == ["continuous", "categorical"]


def test_a_kind_for_some_outputs():
    inputs = keras.Input((6,))

    def model():
        outputs = {
            "box": keras.layers.Dense(4, "sigmoid", name="box")(inputs),
            "label": keras.layers.Dense(3, name="label")(inputs),
        }
        return keras.Model(inputs, outputs)

    distiller = Distiller(model(), model(), output_kind={"box": "continuous"})
    losses = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    distiller.compile("sgd", {"box": None, "label": losses})
    distiller.fit(X, {"box": LABELS, "label": np.zeros(32)}, verbose=0)
    assert distiller.output_kind == ["continuous", "categorical"]


def test_one_word_of_a_softmax_for_several_students():
    inputs = keras.Input((6,))
    outputs = {name: keras.layers.Dense(4)(inputs) for name in "ab"}
    distiller = Distiller(
        network(activation="softmax"),
        keras.Model(inputs, outputs),
        teacher_outputs="probabilities",
    )
    distiller.compile("sgd")
    distiller.fit(X, verbose=0)
    assert distiller.output_kind == ["categorical"] * 2


def test_compiled_again_with_another_loss():
    distiller = Distiller(network(width=7), network())
    distiller.compile("sgd", "mse")
    assert "fidelity" not in evaluated(distiller, X, LABELS)
    distiller.compile("sgd", keras.losses.CategoricalCrossentropy(from_logits=True))
    assert "fidelity" in evaluated(distiller, X, LABELS)
    assert distiller.output_kind == ["categorical"]


def reloaded(distiller):
    return Distiller.from_config(distiller.get_config())


def test_what_files_say_of_kinds():
    config = Distiller(network(width=7), network()).get_config()
    del config["output_kind"], config["assumed_kinds"]  # as of version 0.1
    old = reloaded(Distiller.from_config(config))
    old.compile("sgd")
    old.fit(X, verbose=0)
    assert old.output_kind == ["categorical"]
    # What a loss has told is no declaration: another loss tells something else.
    distiller = Distiller(network(width=7), network())
    distiller.compile("sgd", keras.losses.CategoricalCrossentropy(from_logits=True))
    distiller.fit(X, LABELS, verbose=0)
    again = reloaded(distiller)
    again.compile("sgd", "mse")
    again.fit(X, LABELS, verbose=0)
    assert again.output_kind == ["continuous"]


def test_losses_that_are_the_same_for_every_kind_do_not_ask():
    teacher, student = network(width=7), network()
    hint = FeatureHint(teacher.layers[1].name, student.layers[1].name)
    for losses in (LogitMSE(), RelationalKD(), hint):
        distiller = Distiller(teacher, student, losses)
        distiller.compile("sgd")
        assert "fidelity" in distiller.fit(X, verbose=0).history


def test_kerass_own_loss_of_classes():
    loss = keras.distillation.LogitsDistillation()
    distiller = Distiller(network(width=7), network(), loss, output_kind="continuous")
    distiller.compile("sgd")
    with pytest.raises(ValueError, match="LogitsDistillation is about the prob"):
        distiller.fit(X, verbose=0)


def test_what_a_cache_may_leave_out(tmp_path):
    teacher = network()
    teacher.compile("sgd", "mse")
    with pytest.raises(ValueError, match="`dtype` must be 'float32' for values"):
        SupervisionCache.build(teacher, X, tmp_path / "values", progress=False)
    inputs = keras.Input((6,))
    outputs = [keras.layers.Dense(k, name=f"d{k}")(inputs) for k in (9, 1)]
    cache = SupervisionCache.build(
        keras.Model(inputs, outputs),
        X,
        tmp_path / "both",
        top_k=2,
        output_kind=["categorical", "bernoulli"],
        progress=False,
    )
    assert cache.output_kinds == ["categorical", "bernoulli"]


def test_the_mean_of_probabilities_has_to_know_their_kind(tmp_path):
    teachers = [network(width=7), network(width=7)]
    with pytest.raises(ValueError, match=r"^`output_kind` must say"):
        mean(teachers, of="probabilities")
    logits = [teacher.predict(X, verbose=0) for teacher in teachers]
    said = mean(teachers, of="probabilities", output_kind="bernoulli")
    np.testing.assert_allclose(
        expit(said.predict(X, verbose=0)), expit(logits).mean(0), rtol=1e-4
    )
    caches = [
        SupervisionCache.build(t, X, tmp_path / str(i), progress=False)
        for i, t in enumerate(teachers)
    ]
    with pytest.raises(ValueError, match="`output_kind` must say"):
        mean(caches, of="probabilities")
    mean(caches)


def test_the_class_says_what_it_takes():
    for argument in ("output_kind", "teacher_precision", "distillation_losses"):
        assert f"        {argument}: " in Distiller.__doc__
