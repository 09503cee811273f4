"""A distiller saves, reloads and goes on training; the teacher stays out on request."""

import json
import zipfile

import h5py
import keras
import numpy as np
import pytest
from networks import (
    convnet,
    copy_weights,
    evaluate,
    images,
    restless_teacher,
    sparse_loss,
)

from keras_kd import Distiller
from keras_kd.losses import FeatureHint, SoftTargets

FIT = {"batch_size": 8, "shuffle": False, "verbose": 0}


def compiled(teacher, student, **kwargs):
    distiller = Distiller(teacher, student, alpha=0.5, **kwargs)
    distiller.compile(keras.optimizers.Adam(0.01), sparse_loss(), metrics=["accuracy"])
    return distiller


def assert_close(one, other, atol=1e-6):
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=atol)


@pytest.mark.parametrize("losses", [None, "several"])
def test_round_trip_goes_on_training(tmp_path, losses):
    x, y = images()
    teacher = restless_teacher()
    if losses:
        losses = {
            "soft": SoftTargets(2.0),
            "hint": FeatureHint("conv", "conv1"),
            "keras": keras.distillation.LogitsDistillation(2.0),
        }
        teacher = convnet(6)
        losses["hint"] = FeatureHint("conv1", "conv1")
    distiller = compiled(teacher, convnet(), distillation_losses=losses)
    distiller.fit(x, y, epochs=2, **FIT)
    distiller.save(tmp_path / "distiller.keras")
    loaded = keras.models.load_model(tmp_path / "distiller.keras")

    assert loaded.alpha == 0.5
    assert loaded.distillation_loss_names == distiller.distillation_loss_names
    assert_close(distiller.teacher, loaded.teacher, atol=0)
    assert_close(distiller, loaded, atol=0)
    for one, other in zip(
        distiller.optimizer.variables, loaded.optimizer.variables, strict=True
    ):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    np.testing.assert_allclose(
        distiller.predict(x, verbose=0), loaded.predict(x, verbose=0), atol=1e-6
    )
    distiller.fit(x, y, **FIT)
    loaded.fit(x, y, **FIT)
    assert_close(distiller, loaded, atol=1e-5)


def test_weights_file_holds_the_teacher(tmp_path):
    teacher = convnet(8)
    distiller = compiled(teacher, convnet())
    distiller.save_weights(tmp_path / "all.weights.h5")
    other = compiled(convnet(8), convnet())
    other.load_weights(tmp_path / "all.weights.h5")
    assert_close(distiller.teacher, other.teacher, atol=0)
    assert_close(distiller.student, other.student, atol=0)


def arrays_in(file):
    sizes = []
    with h5py.File(file) as h5:
        h5.visititems(
            lambda _, item: (
                sizes.append(item.size) if isinstance(item, h5py.Dataset) else None
            )
        )
    return sizes


def test_teacher_stays_out_of_every_file(tmp_path):
    x, y = images()
    # A teacher whose weights are larger than all else, so that they cannot hide.
    teacher = convnet(64, name="secret_teacher")
    distiller = compiled(teacher, convnet(), save_teacher=False)
    backup = keras.callbacks.BackupAndRestore(
        tmp_path / "backup", delete_checkpoint=False
    )
    distiller.fit(x, y, callbacks=[backup], **FIT)
    distiller.save(tmp_path / "distiller.keras")
    distiller.save_weights(tmp_path / "distiller.weights.h5")

    with zipfile.ZipFile(tmp_path / "distiller.keras") as archive:
        archive.extractall(tmp_path / "archive")
        config = json.loads(archive.read("config.json"))
    assert config["config"]["teacher"] is None
    assert "secret_teacher" not in json.dumps(config)
    files = list(tmp_path.rglob("*.h5"))
    assert len(files) >= 3
    limit = sum(w.size for w in teacher.get_weights()) / 4
    for file in files:
        assert 0 < sum(arrays_in(file)) < limit

    loaded = keras.models.load_model(tmp_path / "distiller.keras")
    assert loaded.teacher is None
    np.testing.assert_allclose(
        loaded.predict(x, verbose=0), distiller.predict(x, verbose=0), atol=1e-6
    )
    logs = evaluate(loaded, x, y)
    assert set(logs) == {"loss", "student_loss", "accuracy"}
    assert logs["loss"] == pytest.approx(logs["student_loss"])
    with pytest.raises(ValueError, match=r"distiller\.teacher = teacher"):
        loaded.fit(x, y, **FIT)
    loaded.teacher = teacher
    loaded.fit(x, y, **FIT)
    distiller.fit(x, y, **FIT)
    assert_close(distiller.student, loaded.student, atol=1e-5)


def test_learned_loss_is_restored_without_its_teacher(tmp_path):
    x, y = images()
    teacher = convnet(6)
    hint = FeatureHint("conv1", "conv1")
    distiller = compiled(
        teacher, convnet(), distillation_losses=hint, save_teacher=False
    )
    distiller.fit(x, y, **FIT)
    distiller.save(tmp_path / "distiller.keras")
    loaded = keras.models.load_model(tmp_path / "distiller.keras")
    loaded.teacher = teacher
    assert_close(distiller, loaded, atol=0)
    distiller.fit(x, y, **FIT)
    loaded.fit(x, y, **FIT)
    assert_close(distiller, loaded, atol=1e-5)


def test_backup_and_restore_gives_the_undisturbed_run(tmp_path):
    x, y = images()
    teacher, first = convnet(8), convnet()
    second = copy_weights(first, convnet())
    undisturbed = compiled(teacher, first)
    undisturbed.fit(x, y, epochs=4, **FIT)

    class Crash(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    def backup():
        return keras.callbacks.BackupAndRestore(tmp_path / "backup")

    with pytest.raises(KeyboardInterrupt):
        compiled(teacher, second).fit(
            x, y, epochs=4, callbacks=[backup(), Crash()], **FIT
        )
    resumed = compiled(teacher, convnet())
    resumed.fit(x, y, epochs=4, callbacks=[backup()], **FIT)
    assert_close(first, resumed.student, atol=1e-5)


def test_student_serves_alone(tmp_path):
    x, y = images()
    distiller = compiled(convnet(8), convnet())
    distiller.fit(x, y, **FIT)
    distiller.student.save(tmp_path / "student.keras")
    loaded = keras.models.load_model(tmp_path / "student.keras")
    expected = distiller.predict(x, verbose=0)
    np.testing.assert_allclose(loaded.predict(x, verbose=0), expected, atol=1e-6)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        distiller.student.export(tmp_path / "served", verbose=False)
        served = tf.saved_model.load(tmp_path / "served")
        np.testing.assert_allclose(served.serve(x), expected, atol=1e-5)
