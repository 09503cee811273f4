"""What an earlier version has written is read by this one, and gone on with.

The files of `version_0_1` were made by `make.py`, on PyTorch; they are read on every
backend.
"""

import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from make import compiled, examples, network

import keras_kd
from keras_kd.complexity import TeacherReport
from keras_kd.experiments import RECIPES, Report, run
from keras_kd.ntk import empirical_ntk

FOLDER = Path(__file__).parent / "version_0_1"


@pytest.fixture(scope="module")
def expected():
    with np.load(FOLDER / "expected.npz") as file:
        return dict(file)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A copy, from which paths are read as they were written."""
    shutil.copytree(FOLDER, tmp_path / "files")
    monkeypatch.chdir(tmp_path / "files")
    return tmp_path / "files"


def close(found, wanted, atol=1e-5):
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=atol)


def on_this_backend(distiller):
    """A loaded distiller that goes on training."""
    if keras.backend.backend() != "torch":
        # Keras writes down its optimizer's class for PyTorch, which runs there only.
        compiled(distiller)
    return distiller


def test_trajectory(files, expected):
    x, y = examples()
    trajectory = keras_kd.TeacherTrajectory("trajectory")
    assert [(c.step, c.epoch) for c in trajectory] == [(3, 1), (6, 2)]
    assert trajectory[0].metrics["accuracy"] > 0
    for i in range(2):
        model = trajectory.load(i)
        close(model.predict(x, verbose=0), expected[f"trajectory-{i}"])
    # It is gone on with, too.
    recorder = keras_kd.TrajectoryRecorder("trajectory")
    teacher = compiled(trajectory.load(-1), metrics=["accuracy"])
    teacher.fit(
        x, y, batch_size=8, epochs=3, initial_epoch=2, verbose=0, callbacks=[recorder]
    )
    assert [c.step for c in keras_kd.TeacherTrajectory("trajectory")] == [3, 6, 9]


@pytest.mark.parametrize("name", ["cache", "cache-top-k", "cache-one-unit"])
def test_cache(files, expected, name):
    x, _ = examples()
    cache = keras_kd.SupervisionCache(name)
    cache.verify()
    index = 0 if name == "cache" else -1
    np.testing.assert_array_equal(cache.predict(x, index), expected[name])


def test_cache_teaches(files):
    x, y = examples()
    cache = keras_kd.SupervisionCache("cache")
    distiller = keras_kd.Distiller(cache, network(2))
    distiller.compile("sgd")
    online = keras_kd.OnlineTeacher(cache)
    logs = distiller.fit(
        x, y, batch_size=8, epochs=2, verbose=0, callbacks=[online]
    ).history
    assert logs["teacher_step"] == [3, 6]
    assert np.isfinite(logs["distillation_loss"]).all()


def test_cache_that_was_begun(files, expected):
    x, y = examples()
    trajectory = keras_kd.TeacherTrajectory("trajectory")
    cache = keras_kd.SupervisionCache.build(
        trajectory, (x, y), "cache-begun", batch_size=8, progress=False
    )
    assert not (files / "cache-begun" / "building.json").exists()
    for i in range(2):
        close(cache.predict(x, i), expected[f"trajectory-{i}"], atol=2e-3)


def test_distiller(files, expected):
    _, y = examples()
    with np.load("pixels.npz") as file:
        pixels = file["pixels"]
    distiller = keras.saving.load_model("distiller.keras")
    close(distiller.predict(pixels, verbose=0), expected["distiller"])
    loss = distiller.evaluate(pixels, y, verbose=0, return_dict=True)["loss"]
    close(float(loss), expected["distiller-loss"])
    distiller.load_weights("distiller.weights.h5")
    close(distiller.predict(pixels, verbose=0), expected["distiller"])
    on_this_backend(distiller)
    history = distiller.fit(pixels, y, epochs=1, batch_size=8, verbose=0).history
    assert np.isfinite(history["loss"]).all()


@pytest.mark.parametrize("name", ["cache", "cached-mean", "mean"])
def test_distiller_of_other_teachers(files, expected, name):
    x, y = examples()
    distiller = keras.saving.load_model(f"distiller-of-{name}.keras")
    close(distiller.predict(x, verbose=0), expected[f"distiller-of-{name}"])
    on_this_backend(distiller)
    history = distiller.fit(x, y, epochs=1, batch_size=8, verbose=0).history
    assert history["fidelity"][0] <= 1


def test_report_on_teachers(files):
    report = TeacherReport.from_json(Path("report.json").read_text())
    assert len(report.rows) == 4
    assert TeacherReport.from_json(report.to_json()) == report


def test_kernel_that_was_begun(files, expected):
    """Its record did not say of what it is: it is left as it was, and begun anew."""
    x, _ = examples()
    before = np.load("kernel.npy")
    model = keras.saving.load_model("kernel.keras")
    with pytest.raises(ValueError, match=r"another version. Delete it and 'kernel"):
        empirical_ntk(model, x, out="kernel.npy")
    np.testing.assert_array_equal(np.load("kernel.npy"), before)
    kernel = empirical_ntk(model, x, out="another.npy")
    close(kernel, expected["kernel"])
    # The block that was there.
    np.testing.assert_allclose(kernel[:16, :16], before[:16, :16], rtol=1e-5)


def test_study(files):
    recipe = RECIPES["digits"].with_settings(
        {
            "data.n_train": "32",
            "data.n_validation": "16",
            "data.n_test": "32",
            "batch_size": "16",
            "epochs": "2",
            "teacher_epochs": "2",
            "teacher": "lenet5:0.1",
            "students": "lenet5:0.1",
            "methods": "none,offline",
            "learning_rates": "0.05",
            "temperatures": "4",
            "ntk_images": "8",
            "seeds": "1",
        }
    )
    done = (files / "study" / "results.jsonl").read_text()
    assert [r["method"] for r in Report("study").students] == ["none"]
    if keras.backend.backend() != "torch":
        with pytest.raises(ValueError, match="same backend"):
            run(recipe, "study")
        return
    records = run(recipe, "study")
    assert [r["method"] for r in records] == ["teacher", "none", "offline"]
    assert (files / "study" / "results.jsonl").read_text().startswith(done)
    assert len(records[-1]["history"]["loss"]) == 2
