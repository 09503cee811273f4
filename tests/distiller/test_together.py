"""`train_teacher=True`: teacher and student in one run."""

import keras
import numpy as np
import pytest
from keras import ops
from networks import convnet, copy_weights, images, plain, sparse_loss

from keras_kd import Distiller
from keras_kd.losses import FeatureHint, SoftTargets

FIT = {"batch_size": 8, "shuffle": False, "verbose": 0}


def together(teacher, student, losses=None, alpha=1.0, optimizer=None):
    distiller = Distiller(teacher, student, losses, alpha=alpha, train_teacher=True)
    distiller.compile(optimizer or keras.optimizers.SGD(0.05), sparse_loss())
    return distiller


def test_teacher_trains_as_it_would_alone():
    """The student's loss must not reach the teacher."""
    x, y = images()
    teacher = convnet(8)
    alone = copy_weights(teacher, convnet(8))
    distiller = together(
        teacher, convnet(), [SoftTargets(), FeatureHint("conv1", "conv1")]
    )
    history = distiller.fit(x, y, epochs=2, **FIT).history
    alone.compile(keras.optimizers.SGD(0.05), sparse_loss())
    expected = alone.fit(x, y, epochs=2, **FIT).history
    for one, other in zip(teacher.get_weights(), alone.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    np.testing.assert_allclose(history["teacher_loss"], expected["loss"], rtol=1e-4)
    assert set(history) == {
        "loss",
        "student_loss",
        "distillation_loss",
        "soft_targets_loss",
        "feature_hint_loss",
        "teacher_loss",
        "fidelity",
    }


def test_one_step_equals_distilling_from_the_teacher_before_it():
    x, y = images(8)
    teacher, student = plain(8), plain()
    frozen = copy_weights(teacher, plain(8))
    other = copy_weights(student, plain())
    together(teacher, student).fit(x, y, **FIT)
    offline = Distiller(frozen, other, output_kind="categorical")
    offline.compile(keras.optimizers.SGD(0.05))
    offline.fit(x, **FIT)
    for one, two in zip(student.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6)


def test_supervision_is_the_training_mode_forward_pass():
    x, y = images(8)
    teacher, student = convnet(8), plain()
    expected = SoftTargets().compute_loss(
        keras.ops.convert_to_tensor(teacher(x, training=True)), student(x)
    )
    loss = together(teacher, student, optimizer=keras.optimizers.SGD(0.0))
    logs = loss.train_on_batch(x, y, return_dict=True)
    assert logs["distillation_loss"] == pytest.approx(
        float(ops.convert_to_numpy(ops.stop_gradient(expected))), rel=1e-4
    )


def test_different_learning_rates():
    if not hasattr(keras.optimizers, "MultiOptimizer"):
        pytest.skip("MultiOptimizer came with a later Keras.")
    x, y = images()
    teacher, student = plain(8, name="teacher"), plain(name="student")
    before = teacher.get_weights(), student.get_weights()
    paths = {v.path: keras.optimizers.SGD(0.0) for v in teacher.trainable_variables}
    rates = keras.optimizers.OptimizerMap(keras.optimizers.SGD(0.1), paths)
    distiller = together(
        teacher, student, optimizer=keras.optimizers.MultiOptimizer(rates)
    )
    distiller.fit(x, y, **FIT)
    for one, other in zip(before[0], teacher.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert any(
        (a != b).any() for a, b in zip(before[1], student.get_weights(), strict=True)
    )


def test_round_trip(tmp_path):
    x, y = images()
    distiller = together(convnet(8), convnet(), alpha=0.5)
    distiller.fit(x, y, **FIT)
    distiller.save(tmp_path / "together.keras")
    loaded = keras.models.load_model(tmp_path / "together.keras")
    assert loaded.train_teacher
    distiller.fit(x, y, **FIT)
    loaded.fit(x, y, **FIT)
    for name in ("teacher", "student"):
        one, other = getattr(distiller, name), getattr(loaded, name)
        for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.wrong_input
def test_labels_are_needed():
    x, _ = images(8)
    with pytest.raises(ValueError, match="labels"):
        together(convnet(8), convnet()).fit(x, **FIT)
