"""Every argument of the public functions: one clear error, and nothing is written."""

import os

import keras
import numpy as np
import pytest

from keras_kd import (
    Distiller,
    OnlineTeacher,
    SupervisionCache,
    TeacherTrajectory,
    TrajectoryRecorder,
    callbacks,
    complexity,
    datasets,
    experiments,
    losses,
    metrics,
    models,
    ntk,
    teachers,
)

# Written once over Keras, and refused before anything runs.
pytestmark = [pytest.mark.one_backend, pytest.mark.wrong_input]

X = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
Y = np.arange(8) % 3
TARGETS = np.eye(3)[Y]
KERNEL = X @ X.T + np.eye(8)
NAN = float("nan")


@pytest.fixture(scope="module")
def network():
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])


@pytest.fixture(scope="module")
def digits():
    return datasets.load("digits", n_train=20, n_test=10)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "text.txt").write_text("a text")
    (tmp_path / "folder").mkdir()
    return tmp_path


def refused(argument, function, *arguments, **named):
    """That the error names the argument and what came, in a few lines."""
    with pytest.raises((ValueError, TypeError)) as error:
        function(*arguments, **named)
    message = str(error.value)
    assert f"`{argument}" in message
    assert "Received" in message
    assert len(message) < 500
    # Ours, and not one that something further down has let through.
    assert message.index("`") < 60


def rows(table):
    return [
        pytest.param(name, bad, id=f"{name}={str(bad)[:24]}".replace("\n", " "))
        for name, several in table.items()
        for bad in several
    ]


NO_COUNT = (0, -1, "2", 1.5, None, True)
NO_SEED = (-1, 1.5, "a", None)
NO_PATH = (3, None, "")
NO_FLAG = ("yes", 1, None)

BATCHES = {
    "x": (None, 3, "text", np.float32(1), X[:0]),
    "y": (3, "text", Y[:3]),
    "batch_size": NO_COUNT,
    "seed": NO_SEED,
    "augment": (3, True, "flip"),
    "workers": NO_COUNT,
    "views": (0, 2, "2"),
}


@pytest.mark.parametrize(("name", "bad"), rows(BATCHES))
def test_batches(name, bad):
    refused(name, datasets.Batches, **{"x": X, name: bad})


LOAD = {
    "name": ("nothing", 3, None, ["digits"]),
    "n_train": (0, -1, 10.5, "10", 10**6),
    "n_test": (0, 10.5, 10**6),
    "seed": NO_SEED,
    "folder": (3, ""),
}


@pytest.mark.parametrize(("name", "bad"), rows(LOAD))
def test_load(name, bad):
    refused(name, datasets.load, **{"name": "digits", name: bad})


LABELS = {
    "labels": ("abc", None, [], Y + 0.5, TARGETS, np.zeros(5, int), -Y),
    "share": (-0.1, 1.1, "a", None, NAN),
    "seed": NO_SEED,
}


@pytest.mark.parametrize(("name", "bad"), rows(LABELS))
def test_wrong_labels(name, bad):
    refused(name, datasets.wrong_labels, **{"labels": Y, "share": 0.5, name: bad})


MODELS = ["MLP", "ConvNet", "LeNet5", "ResNet", "ResNet101", "VGG16", "MobileNetV3"]
OF_MODELS = {
    "input_shape": (None, 32, (32, 32), "abc", (0, 32, 3), (32.0, 32, 3)),
    "classes": (0, "10", 2.5, None),
}


@pytest.mark.parametrize(("name", "bad"), rows(OF_MODELS))
@pytest.mark.parametrize("model", MODELS)
def test_models(model, name, bad):
    refused(name, getattr(models, model), **{name: bad})


SIZES = {"width": (0, -1, "a", NAN), "alpha": (0, "a", None), "depth": (0, "a", 9)}
OF_SIZE = {"width": models.LeNet5, "alpha": models.MobileNetV3, "depth": models.ResNet}


@pytest.mark.parametrize(("name", "bad"), rows(SIZES))
def test_sizes_of_models(name, bad):
    refused(name, OF_SIZE[name], **{name: bad})


ANNEAL = {
    "number": ("", 3, None),
    "schedule": (3, None, "linear"),
    "loss": (3, "", ["a"]),
}


@pytest.mark.parametrize(("name", "bad"), rows(ANNEAL))
def test_anneal(name, bad):
    given = {"number": "alpha", "schedule": lambda step: 1.0, name: bad}
    refused(name, callbacks.Anneal, **given)


WATCH = {
    "x": (None, X[:0]),
    "targets": ({}, None, "labels", {"a": TARGETS[:3]}, {"a": TARGETS * NAN}),
    "every": NO_COUNT,
    "temperature": (0, "1", NAN),
    "kind": ("x", None),
    "residual": ("no", 1),
    "relative_ridge": (-1, "a"),
    "teacher_outputs": ("x", None),
    "batch_size": (0, "2"),
}


@pytest.mark.parametrize(("name", "bad"), rows(WATCH))
def test_supervision_complexity_over_training(name, bad):
    given = {"x": X, "targets": {"a": TARGETS}, name: bad}
    refused(name, callbacks.SupervisionComplexity, **given)


def test_metrics():
    refused("name", metrics.Fidelity, name=3)
    refused("output_kind", metrics.Fidelity, output_kind="none")
    refused("teacher_outputs", metrics.top1_agreement, X, X[:4])
    refused("teacher_outputs", metrics.top1_agreement, X, X[0])


NTK = {
    "outputs": ("x", 5, None, 1.5),
    "batch_size": (0, "a", 1.5),
    "implementation": ("x", None),
    "variables": ([], 3, "kernel"),
}
KERNELS = {"accumulate": ("float16", None)}
OF_NTK = {
    "empirical_ntk": {**NTK, **KERNELS, "progress": ("yes", 2)},
    "ntk_diagonal": {**NTK, **KERNELS},
    "NTKOperator": {**NTK, **KERNELS},
    "plan": {**NTK, **KERNELS, "n": (0, "a", 1.5)},
    "ntk_features": {"dim": NO_COUNT, "seed": NO_SEED, "outputs": ("x", 5)},
    "ntk_similarity": {"probes": (0, "a", 1.5), "seed": NO_SEED, "outputs": ("x",)},
}


@pytest.mark.parametrize(
    ("function", "name", "bad"),
    [
        pytest.param(function, *row.values, id=f"{function} {row.id}")
        for function, table in OF_NTK.items()
        for row in rows(table)
    ],
)
def test_ntk(network, function, name, bad):
    given = {"dim": 4} if function == "ntk_features" else {}
    several = [network] * (2 if function == "ntk_similarity" else 1)
    refused(name, getattr(ntk, function), *several, X, **{**given, name: bad})


@pytest.mark.parametrize("out", ["text.txt", "folder", 3, np.zeros((2, 2))], ids=str)
def test_where_a_kernel_is_written(network, folder, out):
    place = folder / out if isinstance(out, str) else out
    refused("out", ntk.empirical_ntk, network, X, out=place)
    assert (folder / "text.txt").read_text() == "a text"


COMPLEXITY = {
    "kernel": (None, "k", KERNEL[:, :3], KERNEL[:0, :0], KERNEL * NAN, KERNEL + 1j),
    "targets": (None, "t", TARGETS[:3], TARGETS * NAN),
    "ridge": (-1, "a", None, NAN),
    "ill_conditioned": ("x", None),
    "tolerance": (0, -1, "a", None),
    "preconditioner": ("x",),
}


@pytest.mark.parametrize(("name", "bad"), rows(COMPLEXITY))
def test_complexity(name, bad):
    given = {"kernel": KERNEL, "targets": TARGETS, name: bad}
    refused(name, complexity.supervision_complexity, **given)


RECORDER = {
    "folder": NO_PATH,
    "every": NO_COUNT,
    "unit": ("x", None),
    "growth": (0, 1, "a"),
    "ema": (1, "a", -1),
    "overwrite": NO_FLAG,
}


@pytest.mark.parametrize(("name", "bad"), rows(RECORDER))
def test_recorder(folder, name, bad):
    refused(name, TrajectoryRecorder, **{"folder": folder / "new", name: bad})
    assert not (folder / "new").exists()


BUILD = {
    "teacher": (None, "m", 3),
    "data": (None, 3, X[:0]),
    "folder": NO_PATH,
    "dtype": ("x", 3),
    "top_k": (0, 4, "2", 1.5),
    "taps": ("ab", 3),
    "teacher_outputs": ("x", None),
    "output_kind": ("x", 3),
    "batch_size": NO_COUNT,
    "overwrite": NO_FLAG,
}


@pytest.mark.parametrize(("name", "bad"), rows(BUILD))
def test_build(network, folder, name, bad):
    given = {"teacher": network, "data": X, "folder": folder / "new", name: bad}
    refused(name, SupervisionCache.build, **given, progress=False)
    assert not (folder / "new").exists()


FOLDERS = (SupervisionCache, TeacherTrajectory, experiments.Report)


@pytest.mark.parametrize("bad", NO_PATH)
@pytest.mark.parametrize("function", FOLDERS)
def test_folders_that_are_read(function, bad):
    refused("folder", function, bad)


def test_folders_of_an_overview():
    for bad in (3, None, "runs"):
        refused("folders", experiments.Overview, bad)


@pytest.mark.parametrize("bad", [None, 3, "a.keras", [], ["a.txt"], [3]], ids=str)
def test_from_files(bad):
    refused("files", TeacherTrajectory.from_files, bad)


@pytest.mark.parametrize("bad", [None, 3, "ab", [], [3]], ids=str)
def test_mean(bad):
    refused("teachers", teachers.mean, bad)


@pytest.mark.parametrize("bad", [None, 3, "t"])
def test_online_teacher(bad):
    refused("trajectory", OnlineTeacher, bad)


DISTILLER = {
    "alpha": ("a", None, True, -0.1, NAN),
    "distillation_losses": ([], {}, 3, object()),
    "distillation_loss_weights": (-1, "a", [1, 2], [None], {"x": 1}, object()),
    "teacher_outputs": (None, "x"),
    "student_outputs": (None, 3),
    "train_teacher": NO_FLAG,
    "save_teacher": NO_FLAG,
    "teacher_precision": ("float8", 8),
    "output_kind": ("x", 3, ["categorical"] * 2),
}


@pytest.mark.parametrize(("name", "bad"), rows(DISTILLER))
def test_distiller(network, name, bad):
    student = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    refused(name, Distiller, network, student, **{name: bad})


@pytest.fixture(scope="module")
def distiller(network):
    student = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    distiller = Distiller(network, student, losses.LogitMSE())
    distiller.compile("sgd", jit_compile=False)
    return distiller


FIT = {
    "x": (None, 3, X[:0]),
    "batch_size": (0, "a", 1.5),
    "epochs": ("a", 1.5, None, -1),
    "initial_epoch": ("a", -1),
    "steps_per_epoch": (0, "a", -1),
    "validation_steps": (0, "a"),
    "validation_split": (2, "a", -0.5),
    "callbacks": ("a", 3),
}


@pytest.mark.parametrize(("name", "bad"), rows(FIT))
def test_fit(distiller, name, bad):
    refused(name, distiller.fit, **{"x": X, name: bad}, verbose=0)


TRAINING = {
    "dataset": (3, None),
    "epochs": NO_COUNT,
    "batch_size": (0, "a"),
    "learning_rate": (0, "a", NAN),
    "seed": NO_SEED,
    "callbacks": (3, "a"),
}
TEACHER = {**TRAINING, "teacher": (3,), "folder": (3, None), "every": (0,)}
STUDENT = {
    **TRAINING,
    "mode": ("x", None, "offline", "online"),
    "student": (3,),
    "temperature": (0, "a"),
    "alpha": (2, "a"),
    "hold": (-1, "a"),
    "trajectory": (3,),
    "cache": (3,),
    "teacher": (3,),
}


@pytest.mark.parametrize(("name", "bad"), rows(TEACHER))
def test_train_teacher(network, digits, folder, name, bad):
    given = {"teacher": network, "dataset": digits, "folder": folder / "new"}
    refused(name, experiments.train_teacher, **{**given, "epochs": 1, name: bad})
    assert not (folder / "new").exists()


@pytest.mark.parametrize(("name", "bad"), rows(STUDENT))
def test_distill(network, digits, name, bad):
    given = {"mode": "none", "student": network, "dataset": digits, "epochs": 1}
    refused(name, experiments.distill, **{**given, name: bad})


def test_studies(network, digits, folder):
    recipe = next(iter(experiments.RECIPES.values()))
    for bad in (3, None, "digits"):
        refused("recipe", experiments.run, bad, folder / "new")
    for bad in (3, None, folder / "text.txt"):
        refused("folder", experiments.run, recipe, bad)
        refused("folder", experiments.demo, folder=bad)
    refused("student", experiments.evaluate, 3, digits)
    refused("dataset", experiments.evaluate, network, 3)
    refused("teacher", experiments.evaluate, network, digits, 3)
    for bad in NO_SEED:
        refused("seed", experiments.build, "lenet5", (8, 8, 1), 10, seed=bad)
    assert sorted(os.listdir(folder)) == ["folder", "text.txt"]
