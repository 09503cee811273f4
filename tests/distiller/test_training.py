"""Everything that a Keras model can do in `fit`, the distiller can."""

import keras
import numpy as np
import pytest
from keras import ops
from networks import (
    CLASSES,
    convnet,
    copy_weights,
    evaluate,
    images,
    plain,
    sparse_loss,
)

from keras_kd import Distiller
from keras_kd.losses import FeatureHint, LogitMSE, SoftTargets

BACKEND = keras.backend.backend()


def distil(
    teacher,
    student,
    x,
    y=None,
    loss=None,
    alpha=1.0,
    compile=None,
    output_kind="categorical",
    **fit,
):
    distiller = Distiller(teacher, student, loss, alpha=alpha, output_kind=output_kind)
    distiller.compile(**{"optimizer": keras.optimizers.SGD(0.1), **(compile or {})})
    history = distiller.fit(
        x, y, **{"batch_size": 16, "verbose": 0, "shuffle": False, **fit}
    )
    return distiller, history.history


def test_student_learns_its_teacher():
    x, _ = images(128)
    _, history = distil(
        plain(8),
        plain(8),
        x,
        epochs=12,
        compile={"optimizer": keras.optimizers.Adam(0.01)},
    )
    assert history["distillation_loss"][-1] < 0.2 * history["distillation_loss"][0]
    assert history["fidelity"][-1] > max(0.8, history["fidelity"][0])


def test_unlabelled_data_leaves_out_what_needs_labels():
    x, y = images()
    distiller, history = distil(
        convnet(),
        convnet(),
        x,
        compile={"loss": sparse_loss(), "metrics": ["accuracy"]},
        validation_data=(x, y),
        epochs=2,
    )
    hard = {"student_loss", "accuracy"}
    soft = {"loss", "distillation_loss", "fidelity"}
    validation = {f"val_{key}" for key in hard | soft}
    assert set(history) == soft | validation
    # With labels the same distiller logs them, and trains the same.
    logs = evaluate(distiller, x, y)
    assert set(logs) == hard | soft
    assert logs["loss"] == pytest.approx(logs["distillation_loss"], rel=1e-5)
    assert set(distiller.fit(x, verbose=0).history) == soft


def test_labels_at_alpha_1_are_logged_and_change_nothing():
    x, y = images()
    teacher, student = plain(), plain()
    other = copy_weights(student, plain())
    distil(teacher, student, x)
    _, history = distil(teacher, other, x, y, compile={"loss": sparse_loss()})
    assert set(history) == {"loss", "student_loss", "distillation_loss", "fidelity"}
    for one, two in zip(student.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def closed_form(teacher, student, x, y, weight, alpha, tau):
    """The loss in NumPy: mean over examples of their weighted values."""
    t, s = (
        np.asarray(keras.ops.convert_to_numpy(m(x)), "float64")
        for m in (teacher, student)
    )

    def log_softmax(z):
        z = z - z.max(-1, keepdims=True)
        return z - np.log(np.exp(z).sum(-1, keepdims=True))

    p, log_p, log_q = (
        np.exp(log_softmax(t / tau)),
        log_softmax(t / tau),
        log_softmax(s / tau),
    )
    soft = tau**2 * (p * (log_p - log_q)).sum(-1)
    hard = -log_softmax(s)[np.arange(len(y)), y]
    return np.mean(weight * (alpha * soft + (1 - alpha) * hard))


def test_sample_weight_and_class_weight_count_in_every_term():
    x, y = images(16)
    teacher, student = plain(), plain()
    distiller = Distiller(teacher, student, SoftTargets(2.0), alpha=0.4)
    distiller.compile(keras.optimizers.SGD(0.0), sparse_loss())
    class_weight = {0: 0.0, 1: 2.0, 2: 3.0}
    by_class = np.array([class_weight.get(int(c), 1.0) for c in y])
    fit = {"batch_size": 16, "verbose": 0}
    history = distiller.fit(x, y, class_weight=class_weight, **fit).history
    expected = closed_form(teacher, student, x, y, by_class, 0.4, 2.0)
    assert history["loss"][0] == pytest.approx(expected, rel=1e-5)
    weight = np.linspace(0, 2, 16).astype("float32")
    history = distiller.fit(x, y, sample_weight=weight, **fit).history
    expected = closed_form(teacher, student, x, y, weight, 0.4, 2.0)
    assert history["loss"][0] == pytest.approx(expected, rel=1e-5)


def test_regularisers_of_the_student_count_once_and_whole():
    x, _ = images()
    student = plain(kernel_regularizer=keras.regularizers.L2(0.1))
    distiller = Distiller(plain(), student, alpha=1.0, output_kind="categorical")
    distiller.compile("sgd")
    logs = evaluate(distiller, x)
    penalty = 0.1 * np.sum(student.layers[-1].kernel.numpy() ** 2)
    assert logs["loss"] - logs["distillation_loss"] == pytest.approx(penalty, rel=1e-4)


def test_weights_and_names_of_several_losses():
    x, _ = images()
    losses = {"soft": SoftTargets(2.0), "raw": LogitMSE()}
    distiller = Distiller(
        plain(), plain(), losses, {"soft": 0.5, "raw": 2.0}, output_kind="categorical"
    )
    distiller.compile("sgd")
    logs = evaluate(distiller, x)
    assert set(logs) == {
        "loss",
        "distillation_loss",
        "soft_loss",
        "raw_loss",
        "fidelity",
    }
    total = 0.5 * logs["soft_loss"] + 2.0 * logs["raw_loss"]
    assert logs["distillation_loss"] == pytest.approx(total, rel=1e-5)
    names = Distiller(plain(), plain(), [SoftTargets(), SoftTargets()])
    assert names.distillation_loss_names == ["soft_targets", "soft_targets_2"]


@pytest.mark.parametrize(
    "compile",
    [
        {"run_eagerly": True},
        {"jit_compile": True},
        {"optimizer": keras.optimizers.Adam(0.01, clipnorm=0.1)},
        {"optimizer": keras.optimizers.Adam(0.01, gradient_accumulation_steps=2)},
        {"optimizer": keras.optimizers.Adam(0.01, use_ema=True)},
        {"optimizer": keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.01))},
    ],
    ids=["eager", "jit", "clip", "accumulate", "ema", "loss_scale"],
)
def test_compile_options(compile):
    if BACKEND == "torch" and compile.get("jit_compile"):
        pytest.importorskip("torch._inductor")
    x, y = images()
    student = plain()
    before = student.get_weights()
    _, history = distil(
        plain(), student, x, y, alpha=0.5, compile={"loss": sparse_loss(), **compile}
    )
    assert np.isfinite(history["loss"]).all()
    assert any(
        (a != b).any() for a, b in zip(before, student.get_weights(), strict=True)
    )


def test_eager_and_compiled_agree():
    x, y = images()
    teacher, student = convnet(), convnet()
    other = copy_weights(student, convnet())
    compile = {"loss": sparse_loss()}
    distil(teacher, student, x, y, alpha=0.5, compile=compile)
    eager = {**compile, "run_eagerly": True}
    distil(teacher, other, x, y, alpha=0.5, compile=eager)
    for one, two in zip(student.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)


def test_steps_per_execution():
    x, y = images(40)
    teacher, student = convnet(), convnet()
    other = copy_weights(student, convnet())
    compile = {"loss": sparse_loss(), "metrics": ["accuracy"]}
    fit = {"batch_size": 8, "epochs": 2}
    if BACKEND == "torch":
        with pytest.raises(ValueError, match="steps_per_execution"):
            distil(teacher, other, x, y, compile={"steps_per_execution": 2}, **fit)
        return
    distil(teacher, student, x, y, alpha=0.5, compile=compile, **fit)
    several = {**compile, "steps_per_execution": 2}
    distil(teacher, other, x, y, alpha=0.5, compile=several, **fit)
    for one, two in zip(student.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("half", ["student", "teacher"])
def test_mixed_precision(policy, half):
    x, y = images()
    keras.config.set_dtype_policy(policy)
    mixed = convnet()
    keras.config.set_dtype_policy("float32")
    full = convnet()
    student, teacher = (mixed, full) if half == "student" else (full, mixed)
    distiller, history = distil(
        teacher, student, x, y, alpha=0.5, compile={"loss": sparse_loss()}, epochs=2
    )
    assert distiller.dtype_policy.name == student.dtype_policy.name
    if student is mixed and policy == "mixed_float16":
        assert isinstance(distiller.optimizer, keras.optimizers.LossScaleOptimizer)
    assert np.isfinite(history["loss"]).all()
    # The teacher saw the inputs as they are, not rounded to the student's type.
    logs = evaluate(distiller, x, y)
    agreement = np.mean(
        np.argmax(ops.convert_to_numpy(ops.cast(teacher(x), "float32")), -1)
        == np.argmax(ops.convert_to_numpy(ops.cast(student(x), "float32")), -1)
    )
    assert logs["fidelity"] == pytest.approx(agreement, abs=0.04)


def two_headed(filters, name):
    image = keras.Input((8, 8, 3), name="image")
    extra = keras.Input((4,), name="extra")
    x = keras.layers.Conv2D(filters, 3, activation="relu")(image)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Concatenate()([x, extra])
    outputs = {
        "kind": keras.layers.Dense(CLASSES, name="kind")(x),
        "broken": keras.layers.Dense(1, name="broken")(x),
    }
    return keras.Model({"image": image, "extra": extra}, outputs, name=name)


def test_several_inputs_and_outputs():
    x, y = images()
    inputs = {"image": x, "extra": x[:, 0, :4, 0]}
    labels = {"kind": y, "broken": (y > 2).astype("float32")[:, None]}
    losses = {
        "kind": sparse_loss(),
        "broken": keras.losses.BinaryCrossentropy(from_logits=True),
    }
    distiller = Distiller(two_headed(8, "teacher"), two_headed(4, "student"), alpha=0.5)
    distiller.compile("adam", losses, metrics={"kind": ["accuracy"]})
    history = distiller.fit(inputs, labels, verbose=0).history
    assert {"fidelity", "kind_fidelity", "broken_fidelity", "kind_accuracy"} <= set(
        history
    )
    logs = evaluate(distiller, inputs, labels)
    teacher = distiller.teacher.predict(inputs, verbose=0)
    student = distiller.predict(inputs, verbose=0)
    kind = np.mean(teacher["kind"].argmax(-1) == student["kind"].argmax(-1))
    broken = np.mean((teacher["broken"] > 0) == (student["broken"] > 0))
    assert logs["kind_fidelity"] == pytest.approx(kind)
    assert logs["broken_fidelity"] == pytest.approx(broken)
    assert logs["fidelity"] == pytest.approx((kind + broken) / 2)


class Subclassed(keras.Model):
    """Takes no `training` argument and is not built until it is called."""

    def __init__(self, filters, **kwargs):
        super().__init__(**kwargs)
        self.features = keras.layers.Conv2D(filters, 3, activation="relu")
        self.drop = keras.layers.Dropout(0.5)
        self.head = keras.Sequential(
            [keras.layers.Flatten(), keras.layers.Dense(CLASSES, name="out")],
            name="head",
        )

    def call(self, x):
        return self.head(self.drop(self.features(x)))


@pytest.mark.parametrize("losses", ["logits", "taps"])
def test_subclassed_models(losses):
    x, y = images()
    teacher, student = Subclassed(6), Subclassed(4)
    teacher(x[:1])
    loss = None
    if losses == "taps":
        student(x[:1])
        loss = [SoftTargets(), FeatureHint("features", "features")]
    _, history = distil(
        teacher, student, x, y, loss, 0.5, {"loss": sparse_loss()}, epochs=2
    )
    assert history["loss"][1] < history["loss"][0]
    assert set(history) >= {"fidelity", "student_loss", "distillation_loss"}


@pytest.mark.parametrize("units", [1, CLASSES])
def test_probabilities_teach_as_their_logits_do(units):
    x, _ = images()
    activation = "sigmoid" if units == 1 else "softmax"
    logits = convnet(classes=units)
    probabilities = copy_weights(logits, convnet(classes=units, activation=activation))
    students = [convnet(classes=units) for _ in range(3)]
    for student in students[1:]:
        copy_weights(students[0], student)
    students[2].layers[-1].activation = keras.activations.get(activation)
    kind = "bernoulli" if units == 1 else "categorical"
    runs = (
        Distiller(logits, students[0], output_kind=kind),
        Distiller(probabilities, students[1], teacher_outputs="probabilities"),
        Distiller(logits, students[2], student_outputs="probabilities"),
    )
    for distiller in runs:
        distiller.compile(keras.optimizers.SGD(0.1))
        distiller.fit(x, batch_size=16, epochs=2, shuffle=False, verbose=0)
    for other in students[1:]:
        for one, two in zip(
            students[0].get_weights(), other.get_weights(), strict=True
        ):
            np.testing.assert_allclose(one, two, atol=1e-4)


def test_one_unit_learns():
    x, _ = images(128)
    teacher, student = convnet(8, classes=1), convnet(8, classes=1)
    teacher.layers[-1].kernel.assign(teacher.layers[-1].kernel * 8)
    _, history = distil(
        teacher,
        student,
        x,
        epochs=15,
        compile={"optimizer": keras.optimizers.Adam(0.02)},
        output_kind="bernoulli",
    )
    assert history["distillation_loss"][-1] < 0.5 * history["distillation_loss"][0]


def test_data_sets_of_every_kind():
    x, y = images()

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, i):
            return x[16 * i : 16 * i + 16], y[16 * i : 16 * i + 16]

    sources = [Batches(), ((x[:16], y[:16]) for _ in range(2))]
    if BACKEND == "tensorflow":
        import tensorflow as tf

        sources.append(tf.data.Dataset.from_tensor_slices((x, y)).batch(16))
        sources.append(tf.data.Dataset.from_tensor_slices(x).batch(16))
    if BACKEND == "torch":
        import torch

        pairs = torch.utils.data.TensorDataset(torch.tensor(x), torch.tensor(y))
        sources.append(torch.utils.data.DataLoader(pairs, batch_size=16))
    for source in sources:
        distiller = Distiller(plain(), plain(), output_kind="categorical")
        distiller.compile("sgd", sparse_loss())
        history = distiller.fit(source, verbose=0).history
        assert np.isfinite(history["distillation_loss"]).all()


def test_train_and_test_on_batch():
    x, y = images(8)
    distiller = Distiller(plain(), plain(), alpha=0.5)
    distiller.compile("sgd", sparse_loss(), metrics=["accuracy"])
    keys = {"loss", "student_loss", "distillation_loss", "fidelity", "accuracy"}
    assert set(distiller.train_on_batch(x, y, return_dict=True)) == keys
    assert set(distiller.test_on_batch(x, y, return_dict=True)) == keys
    assert distiller.predict_on_batch(x).shape == (8, CLASSES)


def test_another_teacher_can_be_assigned():
    x, _ = images()
    first, second, student = plain(), plain(8), plain()
    distiller = Distiller(first, student, output_kind="categorical")
    distiller.compile(keras.optimizers.SGD(0.0))
    before = distiller.fit(x, verbose=0).history["distillation_loss"][0]
    distiller.teacher = second
    after = distiller.fit(x, verbose=0).history["distillation_loss"][0]
    fresh = Distiller(second, student, output_kind="categorical")
    fresh.compile("sgd")
    expected = evaluate(fresh, x)["distillation_loss"]
    assert after == pytest.approx(expected, rel=1e-4)
    assert after != pytest.approx(before, rel=1e-3)


def tagger(activation=None, width=4, dtype=None):
    """A class for every token; 0 comes after the end of a sequence."""
    return keras.Sequential(
        [
            keras.Input((6,), dtype="int32"),
            keras.layers.Embedding(9, width, mask_zero=True, dtype=dtype),
            keras.layers.Dense(width, name="features", dtype=dtype),
            keras.layers.Dense(CLASSES, activation=activation, dtype=dtype),
        ]
    )


@pytest.mark.parametrize("outputs", ["logits", "probabilities"])
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_masked_positions_do_not_count(outputs, dtype):
    """Not in any loss nor in the fidelity, also where the outputs are converted."""
    tokens = np.random.default_rng(0).integers(1, 9, size=(32, 6)).astype("int32")
    tokens[:, 3:] = 0
    teacher = tagger()
    student = tagger("softmax" if outputs == "probabilities" else None, dtype=dtype)
    for weight in (teacher.layers[-1].kernel, teacher.layers[0].embeddings):
        weight.assign(weight * 50)  # a loss to see
    distiller = Distiller(
        teacher,
        student,
        [SoftTargets(), FeatureHint("features", "features")],
        student_outputs=outputs,
        output_kind="categorical",
    )
    distiller.compile("sgd")
    padded = evaluate(distiller, tokens)
    short = evaluate(distiller, tokens[:, :3])
    for name in ("soft_targets_loss", "feature_hint_loss", "fidelity"):
        assert padded[name] == pytest.approx(short[name], rel=1e-2), name
