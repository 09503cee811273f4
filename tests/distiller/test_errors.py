"""Wrong arguments: one clear error each, at the earliest moment."""

import keras
import numpy as np
import pytest
from networks import CLASSES, convnet, images, plain, sparse_loss

from keras_kd import Distiller
from keras_kd.losses import (
    DIST,
    AttentionTransfer,
    DecoupledKD,
    FeatureHint,
    LogitMSE,
    RelationalKD,
    SoftTargets,
)


def poisoned(value):
    teacher = plain()
    kernel = teacher.layers[-1].kernel.numpy()
    kernel[0, 0] = value
    teacher.layers[-1].kernel.assign(kernel)
    return teacher


class Unbuilt(keras.Model):
    def call(self, x):
        return x


def shared():
    student = plain()
    teacher = keras.Sequential([keras.Input((8, 8, 3)), *student.layers])
    return Distiller(teacher, student)


def softmax():
    return convnet(activation="softmax")


# What is called, and what its message must say.
CONSTRUCTION = {
    "teacher type": (
        lambda: Distiller("resnet", plain()),
        "`teacher` must be a `keras.Model`.*resnet",
    ),
    "student type": (
        lambda: Distiller(plain(), None),
        "`student` must be a `keras.Model`.*None",
    ),
    "teacher not built": (
        lambda: Distiller(Unbuilt(), plain()),
        "`teacher` must be built",
    ),
    "shared weights": (shared, "must not share weights"),
    "alpha above": (
        lambda: Distiller(plain(), plain(), alpha=1.5),
        r"`alpha` must be in \[0, 1\].*alpha=1.5",
    ),
    "alpha below": (
        lambda: Distiller(plain(), plain(), alpha=-0.1),
        r"`alpha` must be in \[0, 1\]",
    ),
    "alpha nan": (
        lambda: Distiller(plain(), plain(), alpha=float("nan")),
        "`alpha`.*nan",
    ),
    "alpha type": (lambda: Distiller(plain(), plain(), alpha="1"), "`alpha`"),
    "other classes": (
        lambda: Distiller(plain(), convnet(classes=7)),
        r"same structure and shape.*\(5,\).*\(7,\)",
    ),
    "other structure": (
        lambda: Distiller(
            plain(), keras.Model((i := keras.Input((8, 8, 3))), {"a": plain()(i)})
        ),
        "same structure and shape",
    ),
    "outputs kind": (
        lambda: Distiller(plain(), plain(), teacher_outputs="softmax"),
        "`teacher_outputs` must be one of.*softmax",
    ),
    "softmax as logits": (
        lambda: Distiller(softmax(), convnet()),
        "ends in softmax. Pass teacher_outputs='probabilities'",
    ),
    "student softmax as logits": (
        lambda: Distiller(convnet(), softmax()),
        "ends in softmax. Pass student_outputs='probabilities'",
    ),
    "logits as probabilities": (
        lambda: Distiller(convnet(), convnet(), teacher_outputs="probabilities"),
        "ends in a linear layer. Pass teacher_outputs='logits'",
    ),
    "multi-label": (
        lambda: Distiller(
            convnet(activation="sigmoid"),
            convnet(),
            teacher_outputs="probabilities",
            output_kind="categorical",
        ),
        "output_kind='categorical', but model .* ends in sigmoid",
    ),
    "nan weights": (
        lambda: Distiller(poisoned(np.nan), plain()),
        "must be finite.*logits/kernel",
    ),
    "infinite weights": (
        lambda: Distiller(poisoned(np.inf), plain()),
        "must be finite",
    ),
    "no losses": (lambda: Distiller(plain(), plain(), []), "`distillation_losses`"),
    "loss type": (
        lambda: Distiller(plain(), plain(), ["huber"]),
        "`distillation_losses`.*huber",
    ),
    "loss name": (
        lambda: Distiller(plain(), plain(), {"student": SoftTargets()}),
        "name='student'",
    ),
    "weights count": (
        lambda: Distiller(plain(), plain(), [SoftTargets(), LogitMSE()], [1.0]),
        "`distillation_loss_weights`.*2 losses.*1 weights",
    ),
    "weights negative": (
        lambda: Distiller(plain(), plain(), SoftTargets(), -1.0),
        "`distillation_loss_weights`.*-1",
    ),
    "weights names": (
        lambda: Distiller(plain(), plain(), {"a": SoftTargets()}, {"b": 1.0}),
        "`distillation_loss_weights`",
    ),
    "temperature": (lambda: SoftTargets(0.0), "`temperature` must be.*0.0"),
    "tap of the teacher": (
        lambda: Distiller(plain(), plain(), FeatureHint("conv9", "conv1")),
        "no layer 'conv9'.*conv1",
    ),
    "tap of the student": (
        lambda: Distiller(plain(), plain(), AttentionTransfer("conv1", "conv9")),
        "no layer 'conv9'",
    ),
    "train no teacher": (
        lambda: Distiller(None, plain(), train_teacher=True),
        "`train_teacher=True` needs a teacher",
    ),
    "train unsaved teacher": (
        lambda: Distiller(plain(), plain(), train_teacher=True, save_teacher=False),
        "save_teacher=False",
    ),
}


@pytest.mark.wrong_input
@pytest.mark.parametrize("case", CONSTRUCTION)
def test_construction(case):
    build, message = CONSTRUCTION[case]
    with pytest.raises(ValueError, match=message):
        build()


# What can be seen to be wrong without the student's weights.
BEFORE_BUILDING = {
    "`alpha` must": lambda student: {"alpha": 2.0},
    "ends in a linear layer": lambda student: {"teacher_outputs": "probabilities"},
    "no layer 'conv9'": lambda student: {
        "distillation_losses": FeatureHint("conv9", "conv1")
    },
    "`name`": lambda student: {"name": "a/b"},
    "must be finite": lambda student: {"teacher": poisoned(np.nan)},
    "must not share weights": lambda student: {
        "teacher": keras.Sequential([keras.Input((8,)), student.layers[-1]])
    },
}


@pytest.mark.parametrize("message", BEFORE_BUILDING)
def test_a_student_stays_unbuilt_when_arguments_are_refused(message):
    student = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(CLASSES)])
    arguments = {"teacher": convnet(), **BEFORE_BUILDING[message](student)}
    with pytest.raises(ValueError, match=message):
        Distiller(student=student, **arguments)
    assert not student.built


class NoTuple(keras.utils.PyDataset):
    def __len__(self):
        return 1

    def __getitem__(self, index):
        return (images(8)[0],)


X, Y = images(8)
WEIGHT = np.ones(8, "float32")
# The distiller's arguments, compile's, fit's, and what the message must say.
TRAINING = {
    "class_weight without labels": (
        {},
        {},
        {"x": X, "class_weight": {0: 2.0}},
        "`class_weight` needs labels",
    ),
    "class_weight without labels in batches": (
        {},
        {},
        {"x": NoTuple(), "class_weight": {0: 2.0}},
        "`class_weight` needs labels",
    ),
    "alpha without loss": (
        {"alpha": 0.5},
        {},
        {"x": X, "y": Y},
        r"alpha=0.5.*compile\(loss=None\)",
    ),
    "alpha without labels": (
        {"alpha": 0.5},
        {"loss": sparse_loss()},
        {"x": X},
        "labels missing.*alpha=1",
    ),
    "labels of decoupled": (
        {"distillation_losses": DecoupledKD()},
        {},
        {"x": X},
        "DecoupledKD.*(labels|y_true)",
    ),
    "weights of relational": (
        {"distillation_losses": RelationalKD()},
        {},
        {"x": X, "y": Y, "sample_weight": WEIGHT},
        "RelationalKD does not take `sample_weight`",
    ),
    "weights of dist": (
        {"distillation_losses": DIST()},
        {},
        {"x": X, "y": Y, "sample_weight": WEIGHT},
        "DIST does not take `sample_weight`",
    ),
    "weights of Keras's": (
        {"distillation_losses": keras.distillation.LogitsDistillation()},
        {},
        {"x": X, "y": Y, "class_weight": {0: 2.0}},
        "LogitsDistillation does not take `sample_weight`",
    ),
}


@pytest.mark.wrong_input
@pytest.mark.parametrize("case", TRAINING)
def test_training(case):
    arguments, compile, fit, message = TRAINING[case]
    student = plain()
    before = student.get_weights()
    distiller = Distiller(plain(), student, output_kind="categorical", **arguments)
    distiller.compile("sgd", **compile)
    with pytest.raises(ValueError, match=message):
        distiller.fit(**fit, verbose=0)
    for one, other in zip(before, student.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_weights_that_turn_nan_before_fit():
    distiller = Distiller(teacher := plain(), plain(), output_kind="categorical")
    distiller.compile("sgd")
    teacher.layers[-1].bias.assign(np.full(CLASSES, np.nan, "float32"))
    with pytest.raises(ValueError, match=r"must be finite.*logits/bias"):
        distiller.fit(X, verbose=0)


@pytest.mark.wrong_input
@pytest.mark.parametrize(
    ("culprit", "message"),
    [("teacher", "the teacher's outputs are not finite"), ("student", "the student's")],
)
def test_nan_outputs_are_refused_after_the_first_execution(culprit, message):
    teacher, student = plain(), plain()
    if culprit == "teacher":
        # Finite weights, infinite outputs.
        teacher.layers[0].kernel.assign(teacher.layers[0].kernel * 1e30)
        teacher.layers[-1].kernel.assign(teacher.layers[-1].kernel * 1e30)
    else:
        student.layers[-1].bias.assign(np.full(CLASSES, np.nan, "float32"))
    distiller = Distiller(teacher, student, output_kind="categorical")
    distiller.compile("sgd")
    steps = []
    count = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: steps.append(batch)
    )
    with pytest.raises(ValueError, match=message):
        distiller.fit(X, batch_size=2, verbose=0, callbacks=[count])
    assert len(steps) == 1
    # JAX takes the weights out of the variables: they are back.
    assert student.count_params() == sum(w.size for w in student.get_weights())


@pytest.mark.wrong_input
def test_subclassed_outputs_are_compared_at_the_first_step():
    class Head(keras.Model):
        def __init__(self, classes):
            super().__init__()
            self.flat = keras.layers.Flatten()
            self.head = keras.layers.Dense(classes)

        def call(self, x):
            return self.head(self.flat(x))

    teacher, student = Head(7), Head(5)
    teacher(X)
    student(X)
    distiller = Distiller(teacher, student)
    distiller.compile("sgd")
    with pytest.raises(ValueError, match=r"same structure and shape.*\(7,\).*\(5,\)"):
        distiller.fit(X, verbose=0)


@pytest.mark.wrong_input
def test_a_loss_that_is_no_scalar():
    class PerExample(keras.distillation.DistillationLoss):
        def compute_loss(self, teacher_outputs, student_outputs):
            return keras.ops.mean(student_outputs, axis=-1)

    distiller = Distiller(plain(), plain(), PerExample(), output_kind="categorical")
    distiller.compile("sgd")
    with pytest.raises(ValueError, match=r"PerExample.*scalar"):
        distiller.fit(X, verbose=0)


@pytest.mark.wrong_input
def test_a_teacher_that_is_none():
    teacher = plain()
    distiller = Distiller(teacher, plain())
    with pytest.raises(ValueError, match="`teacher` must be a teacher"):
        distiller.teacher = None
    assert distiller.teacher is teacher
