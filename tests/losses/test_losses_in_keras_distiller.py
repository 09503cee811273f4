"""Our losses inside `keras.distillation.Distiller`."""

import keras
import numpy as np
import pytest
from loss_inputs import normal, value

from keras_kd.losses import (
    DIST,
    AttentionTransfer,
    DecoupledKD,
    FeatureHint,
    LogitMSE,
    RelationalKD,
    SoftTargets,
)

X, Y = normal(6, 8, 8, 3), np.arange(6) % 4


def convnet(filters, strides=1):
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(filters, 3, strides, "same", name="conv"),
            keras.layers.GlobalAveragePooling2D(name="pool"),
            keras.layers.Dense(4, name="logits"),
        ]
    )


def distiller_with(loss, teacher, student, learning_rate=0.1):
    distiller = keras.distillation.Distiller(
        teacher, student, loss, student_loss_weight=0.0
    )
    distiller.compile(
        keras.optimizers.SGD(learning_rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return distiller


def fit_one_step(distiller, x=X, y=Y):
    history = distiller.fit(x, y, batch_size=len(x), verbose=0, shuffle=False)
    return history.history["distillation_loss"][0]


def test_logit_losses_give_their_value_and_move_the_student():
    # All in one fit, each with its own power of ten, so that one trace serves all.
    losses = [
        SoftTargets(),
        SoftTargets(divergence="cross_entropy"),
        LogitMSE(),
        DIST(),
    ]
    losses.append(RelationalKD())
    teacher, student = convnet(6), convnet(4)
    outputs = teacher.predict(X, verbose=0), student.predict(X, verbose=0)
    expected = [value(loss.compute_loss(*outputs)) for loss in losses]
    before = value(student.get_layer("conv").kernel)
    weights = [10.0**i for i in range(len(losses))]
    distiller = keras.distillation.Distiller(
        teacher, student, losses, weights, student_loss_weight=0.0
    )
    distiller.compile("sgd", loss="sparse_categorical_crossentropy")
    assert fit_one_step(distiller) == pytest.approx(np.dot(weights, expected), rel=1e-4)
    assert np.any(value(student.get_layer("conv").kernel) != before)


@pytest.mark.parametrize(
    "loss",
    [
        AttentionTransfer("conv", "conv"),
        RelationalKD(teacher_layer_name="pool", student_layer_name="pool"),
    ],
    ids=["attention", "relational"],
)
def test_feature_losses_move_the_student(loss):
    teacher, student = convnet(6), convnet(4, strides=2)
    before = value(student.get_layer("conv").kernel)
    assert fit_one_step(distiller_with(loss, teacher, student)) > 0
    assert np.any(value(student.get_layer("conv").kernel) != before)


def test_decoupled_asks_for_the_labels_that_keras_does_not_pass():
    distiller = distiller_with(DecoupledKD(), convnet(4), convnet(4))
    with pytest.raises(ValueError, match="DecoupledKD needs labels"):
        fit_one_step(distiller)


def test_the_projections_of_hints_are_trained_and_saved(tmp_path):
    hints = [FeatureHint("pool", "pool"), FeatureHint("conv", "conv")]
    distiller = distiller_with(hints, convnet(6), convnet(4, strides=2))
    before = [value(hint.projection.kernel) for hint in hints]
    fit_one_step(distiller)
    trained = [[value(w) for w in hint.weights] for hint in hints]
    for kernel, (trained_kernel, _) in zip(before, trained, strict=True):
        assert np.any(kernel != trained_kernel)
    distiller.save(tmp_path / "distiller.keras")
    loaded = keras.models.load_model(tmp_path / "distiller.keras")
    for hint, values in zip(loaded.distillation_losses, trained, strict=True):
        assert isinstance(hint, FeatureHint)
        for weight, expected in zip(hint.weights, values, strict=True):
            np.testing.assert_array_equal(value(weight), expected)
    np.testing.assert_allclose(
        value(loaded.predict(X, verbose=0)), value(distiller.predict(X, verbose=0))
    )


def test_a_students_mask_counts_inside_fit():
    tokens = np.array([[1, 2, 3], [4, 5, 0], [6, 0, 0], [7, 8, 9]])

    def network():
        return keras.Sequential(
            [
                keras.Input((3,), dtype="int32"),
                keras.layers.Embedding(10, 5, mask_zero=True),
                keras.layers.Dense(3),
            ]
        )

    teacher, student = network(), network()
    differences = value(teacher(tokens)) - value(student(tokens))
    expected = np.mean(differences[tokens > 0] ** 2)
    distiller = distiller_with(LogitMSE(), teacher, student)
    actual = fit_one_step(distiller, tokens, np.zeros((4, 3), "int32"))
    assert actual == pytest.approx(expected, rel=1e-5)
