"""The command line on a few real images: what it writes, prints and refuses."""

import dataclasses
import importlib
import io
import json
import re
from typing import get_args

import keras
import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from keras_kd import datasets, experiments
from keras_kd.cli import display
from keras_kd.cli.commands import app
from keras_kd.cli.options import DatasetName
from keras_kd.experiments.names import Network
from keras_kd.experiments.networks import NETWORKS
from keras_kd.teachers import TeacherTrajectory

pytestmark = pytest.mark.one_backend

SMALL = ["--n-train", "96", "--batch-size", "32", "--epochs", "2"]
LENET = ["--network", "lenet5", "--width", "0.2"]


def run(*args, fails=False):
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    assert (result.exit_code != 0) == fails, result.output
    return result


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "teacher"
    run("train-teacher", folder, *SMALL, *LENET)
    return folder


def test_teacher_is_recorded(teacher):
    trajectory = TeacherTrajectory(teacher / "trajectory")
    assert [c.step for c in trajectory] == [3, 6]
    model = keras.saving.load_model(teacher / "model.keras")
    for one, other in zip(
        model.get_weights(), trajectory.load(-1).get_weights(), strict=True
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("mode", experiments.MODES)
def test_distill_and_evaluate(mode, teacher, tmp_path):
    args = ["--mode", mode, *SMALL, *LENET]
    if mode in ("offline", "online"):
        args += ["--teacher", teacher]
    if mode == "together":
        args += ["--teacher-network", "lenet5"]
    printed = run("distill", tmp_path / mode, *args).output
    record = json.loads((tmp_path / mode / "run.json").read_text())
    assert f"{100 * record['accuracy']:.2f} %" in printed
    assert record["settings"]["mode"] == mode
    assert (record["fidelity"] is None) == (mode == "none")
    assert len(record["history"]["loss"]) == 2
    if mode == "online":
        assert record["history"]["teacher_checkpoint"] == [0.0, 1.0]
    printed = run("evaluate", tmp_path / mode, "--teacher", teacher).output
    assert f"test accuracy {100 * record['accuracy']:.2f} %" in printed
    if mode in ("offline", "online"):
        assert f"{100 * record['fidelity']:.2f} %" in printed


def test_same_seed_same_student(teacher, tmp_path):
    for name in "ab":
        run("distill", tmp_path / name, "--teacher", teacher, *SMALL, *LENET)
    one, other = (
        json.loads((tmp_path / name / "run.json").read_text()) for name in "ab"
    )
    assert one["history"]["loss"] == pytest.approx(other["history"]["loss"], rel=1e-5)


def test_demo(tmp_path, monkeypatch):
    module = importlib.import_module("keras_kd.experiments.demonstration")
    small = dataclasses.replace(
        module.SETTINGS["digits_overlay"],
        **{"teacher_epochs": 2, "epochs": 1, "batch_size": 64},
        **{"n_train": 110, "n_test": 110},
    )
    monkeypatch.setitem(module.SETTINGS, "digits_overlay", small)
    printed = run("demo", "--seeds", 2, "--out", tmp_path).output
    for word in ("no teacher", "offline", "online", "accuracy", "fidelity", "±"):
        assert word in printed
    # There is no terminal: a line for each training that has ended.
    for label, epochs in (("teacher", 2), ("none", 1), ("offline", 1), ("online", 1)):
        assert re.search(
            rf"\d\d:\d\d:\d\d  seed 1: {label}  {epochs}/{epochs}  ", printed
        )
    results = json.loads((tmp_path / "digits_overlay" / "results.json").read_text())
    runs = results["runs"]
    assert {m: len(r) for m, r in runs.items()} == dict.fromkeys(
        ("teacher", "none", "offline", "online"), 2
    )
    # Students of one seed start alike, so without labels' noise they differ by method.
    assert runs["online"][0]["history"]["teacher_checkpoint"] == [1.0]
    gains = [
        100 * (one["accuracy"] - other["accuracy"])
        for one, other in zip(runs["online"], runs["offline"], strict=True)
    ]
    mean, error = sum(gains) / 2, abs(gains[0] - gains[1]) / 2
    assert f"seed by seed: {mean:.1f} ± {error:.1f} points" in " ".join(printed.split())
    png = (tmp_path / "digits_overlay" / "curves.png").read_bytes()
    assert png[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["distill", "out", "--mode", "online"], "needs --teacher"),
        (["distill", "out", "--teacher", "nowhere"], "nowhere"),
        (["distill", "out", "--mode", "none", "--cache", "c"], "no use of --cache"),
        (
            ["distill", "out", "--mode", "none", "--temperature", "4"],
            "no use of --temperature",
        ),
        (
            ["distill", "out", "--mode", "online", "--teacher-network", "resnet8"],
            "no use of --teacher-network",
        ),
        (["distill", "out", "--alpha", "2"], "alpha"),
        (["evaluate", "nowhere"], "no model at"),
        (["train-teacher", "out", "--network", "resnet9"], "resnet9"),
        (["train-teacher", "out", "--epochs", "0"], "epochs"),
        (["train-teacher", "out", "--network", "resnet8", "--width", "2"], "width"),
        (["demo", "--seeds", "0"], "seeds"),
    ],
)
def test_errors_write_nothing(args, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*args, fails=True)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert not list(tmp_path.iterdir())


@pytest.mark.wrong_input
@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["train-teacher", "out", "--data-folder", "nowhere"], "`folder` must be"),
        (["train-teacher", "out", "--ema", "1"], "`ema` must be in (0, 1)"),
    ],
)
def test_what_the_library_refuses_is_one_line(args, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = run(*args, fails=True).stderr.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"Error: {message}")


def test_programming_errors_are_not_hidden(tmp_path, monkeypatch):
    def broken(*args, **kwargs):
        raise TypeError("a bug")

    monkeypatch.setattr(experiments, "build", broken)
    assert isinstance(
        run("train-teacher", tmp_path / "out", fails=True).exception, TypeError
    )


@pytest.mark.wrong_input
@pytest.mark.parametrize("place", ["file", "file/below"])
@pytest.mark.parametrize("command", [["train-teacher"], ["distill"], ["demo", "--out"]])
def test_a_file_where_a_folder_goes_is_refused_first(
    command, place, tmp_path, monkeypatch
):
    monkeypatch.setattr(datasets, "load", None)  # nothing is read, nothing trained
    (tmp_path / "file").write_text("mine")
    result = run(*command, tmp_path / place, fails=True)
    assert result.exit_code == 2
    assert "is a file" in " ".join(result.stderr.replace("│", " ").split())
    assert (tmp_path / "file").read_text() == "mine"


def test_progress_fits_80_columns(monkeypatch):
    console = Console(width=80, file=io.StringIO())
    monkeypatch.setattr(display, "console", console)
    logs = {"loss": 0.001234, "val_accuracy": 1.0, "val_fidelity": 1.0}
    with display.training_progress() as progress:
        display.training_bar(progress, "mobilenet_v3, together", 100).on_epoch_end(
            99, logs
        )
        del logs["val_fidelity"]
        display.training_bar(progress, "teacher mobilenet_v3", 100).on_epoch_end(
            99, logs
        )
    student, teacher = console.file.getvalue().splitlines()[-2:]
    assert student.startswith("mobilenet_v3, together ━")
    assert student.endswith("100/100 0:00:00 accuracy 1.000  fidelity 1.000")
    assert "100/100 0:00:00 accuracy 1.000  loss 0.00123" in teacher
    assert max(len(student), len(teacher)) <= 80


def test_help_teaches():
    printed = run("--help").output
    for word in ("train-teacher", "distill", "evaluate", "demo", "KERAS_BACKEND"):
        assert word in printed
    assert "successive checkpoints" in " ".join(run("distill", "--help").output.split())


@pytest.mark.wrong_input
def test_names_are_those_of_the_library():
    with pytest.raises(ValueError, match="`name` must be one of") as refused:
        datasets.load("imagenet")
    listed = set(re.findall(r"'(\w+)'", str(refused.value))) - {"imagenet"}
    assert set(get_args(DatasetName)) == listed
    assert set(get_args(Network)) == set(NETWORKS)


@pytest.mark.wrong_input
def test_cache_refuses(teacher, tmp_path):
    said = run("cache", "build", tmp_path, fails=True).output
    assert "has" in said
    assert "finished?" in said
    said = run("cache", "info", tmp_path / "none", fails=True).output
    assert "no finished supervision cache" in " ".join(said.split())

    folder = tmp_path / "supervision"
    run("cache", "build", teacher, "--out", folder)
    other = ["cache", "build", teacher, "--out", folder, "--dtype", "float32"]
    said = run(*other, fails=True).output
    assert "one of another dtype" in " ".join(said.split())
    run(*other, "--overwrite")
    assert "float32" in run("cache", "info", folder).output

    keys = folder / "keys.npy"
    content = bytearray(keys.read_bytes())
    content[-1] ^= 1
    keys.write_bytes(content)
    said = run("cache", "verify", folder, fails=True).output
    assert "was altered" in " ".join(said.split())
