"""Runs of the command line: what they replace, check first, and leave when killed."""

import dataclasses
import json
import shutil
import zipfile

import keras
import pytest
from typer.testing import CliRunner

import keras_kd
from keras_kd import experiments
from keras_kd.cli.commands import app
from keras_kd.teachers import TeacherTrajectory

pytestmark = pytest.mark.one_backend

SMALL = ["--n-train", "96", "--batch-size", "32", "--epochs", "2"]
LENET = ["--network", "lenet5", "--width", "0.2"]


def run(*args, fails=False):
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    assert (result.exit_code != 0) == fails, result.output
    return result


def refusal(*args):
    """What is said, in one line; a traceback is none."""
    result = run(*args, fails=True)
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == 2
    return " ".join(result.stderr.replace("│", " ").split())


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "teacher"
    run("train-teacher", folder, *SMALL, *LENET)
    return folder


@pytest.fixture
def teacher(made, tmp_path):
    return shutil.copytree(made, tmp_path / "teacher")


@pytest.fixture
def no_training(monkeypatch):
    for name in ("train_teacher", "distill", "cache_supervision"):
        monkeypatch.setattr(experiments, name, None)


def everything(folder):
    return {p: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def rewrite(file, **changes):
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_it_takes_the_teachers_data_set(teacher, tmp_path):
    out = tmp_path / "student"
    run("distill", out, "--teacher", teacher, *SMALL[2:], *LENET)
    settings = json.loads((out / "run.json").read_text())["settings"]
    assert (settings["dataset"], settings["n_train"]) == ("digits", 96)


@pytest.mark.wrong_input
def test_another_data_set_is_refused_before_training(teacher, tmp_path, monkeypatch):
    """Also one that has been renamed, or is of another size."""
    settings = json.loads((teacher / "run.json").read_text())["settings"]
    settings["dataset"] = "fashion_mnist"
    rewrite(teacher / "run.json", settings=settings)
    module = experiments.training
    monkeypatch.setattr(module, "fit", None)
    load = experiments.demonstration.datasets.load

    def other(name, **kwargs):
        assert name == "fashion_mnist"
        data = load("digits", n_train=96)
        return dataclasses.replace(
            data, x_train=data.x_train[:, :7], x_test=data.x_test[:, :7]
        )

    monkeypatch.setattr("keras_kd.datasets.load", other)
    before = everything(teacher)
    said = refusal("distill", tmp_path / "out", "--teacher", teacher, *LENET)
    assert "images of shape (8, 8, 1), and images of shape (7, 8, 1)" in said
    assert "(--dataset)" in said
    assert everything(teacher) == before
    assert not (tmp_path / "out").exists()


@pytest.mark.wrong_input
@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("command", ["train-teacher", "distill"])
@pytest.mark.parametrize("name", ["run.json", "model.keras", "trajectory"])
def test_nothing_is_replaced_unasked(command, name, made, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    if name == "trajectory":
        shutil.copytree(made / name, out / name)
    else:
        shutil.copy(made / name, out)
    before = everything(out)
    args = ["--teacher", made] if command == "distill" else []
    said = refusal(command, out, *args)
    assert f"{out.name} holds a" in said
    assert "choose another folder" in said
    assert everything(out) == before


@pytest.mark.wrong_input
@pytest.mark.usefixtures("no_training")
def test_a_student_does_not_replace_a_teacher(teacher):
    before = everything(teacher)
    said = refusal("distill", teacher, "--teacher", teacher, "--overwrite")
    assert "holds a teacher with its trajectory" in said
    assert everything(teacher) == before


def test_overwrite(teacher, tmp_path):
    out = tmp_path / "student"
    for seed in (0, 1):
        args = ["--teacher", teacher, *SMALL, *LENET, "--seed", seed]
        run("distill", out, *args, *["--overwrite"][:seed])
    assert json.loads((out / "run.json").read_text())["settings"]["seed"] == 1
    assert {p.name for p in out.iterdir()} == {"run.json", "model.keras"}
    run("train-teacher", teacher, *SMALL, *LENET, "--seed", 1, "--overwrite")
    record = json.loads((teacher / "run.json").read_text())
    trajectory = TeacherTrajectory(teacher / "trajectory")
    assert record["last_checkpoint"] == trajectory[-1].sha256
    assert (record["settings"]["seed"], trajectory.finished) == (1, True)


class Killed(BaseException):
    """Nobody catches it."""


@pytest.mark.parametrize("moment", ["begin", "first epoch", "last epoch", "saving"])
def test_a_teacher_half_replaced_is_refused(teacher, tmp_path, moment, monkeypatch):
    class Kill(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            if moment == "begin":
                raise Killed

        def on_epoch_end(self, epoch, logs=None):
            if moment == ("first epoch", "last epoch")[epoch]:
                raise Killed

    def save(*args, **kwargs):
        raise Killed

    with monkeypatch.context() as patch:
        bar = "keras_kd.cli.train_teacher.training_bar"
        patch.setattr(bar, lambda *args: Kill())
        if moment == "saving":
            patch.setattr(keras.Model, "save", save)
        with pytest.raises(Killed):
            run("train-teacher", teacher, *SMALL, *LENET, "--overwrite", "--seed", 1)
    used = [
        ["cache", "build", teacher, "--out", tmp_path / "cache"],
        ["distill", tmp_path / "student", "--teacher", teacher],
        ["compare-teachers", teacher, "--out", tmp_path / "report.json"],
    ]
    for args in used:
        assert "has train-teacher finished?" in refusal(*args)
    assert [p.name for p in tmp_path.iterdir()] == ["teacher"]
    assert "--overwrite" in refusal("train-teacher", teacher, *SMALL, *LENET)


DAMAGED_RUNS = {
    "empty": ("run.json", lambda file: file.write_text("")),
    "torn": ("run.json", lambda file: file.write_text(file.read_text()[:300])),
    "zeroed": ("run.json", lambda file: file.write_bytes(bytes(300))),
    "a list": ("run.json", lambda file: file.write_text("[]")),
    "nested": ("run.json", lambda file: file.write_text("[" * 10**5)),
    "deep": ("run.json", lambda file: file.write_text("[" * 300 + "]" * 300)),
    "infinite": ("run.json", lambda file: file.write_text('{"settings": Infinity}')),
    "1e999": ("run.json", lambda file: file.write_text('{"settings": 1e999}')),
    "key twice": ("run.json", lambda file: file.write_text('{"a": 1, "a": 2}')),
    "no settings": ("run.json", lambda file: file.write_text("{}")),
    "no data set": ("run.json", lambda file: rewrite(file, settings={})),
    "a path": ("run.json", lambda file: _set(file, "dataset", "../../etc")),
    "a list of names": ("run.json", lambda file: _set(file, "dataset", ["digits"])),
    "images": ("run.json", lambda file: _set(file, "n_train", -3)),
    "true": ("run.json", lambda file: _set(file, "n_train", True)),
    "a number": ("run.json", lambda file: _set(file, "data_folder", 3)),
    "of another": ("trajectory", lambda file: rewrite_last(file.parent / "run.json")),
    "unfinished": (
        "trajectory",
        lambda file: rewrite(file / "trajectory.json", finished=False),
    ),
    "no trajectory": ("trajectory", shutil.rmtree),
}


def _set(file, name, value):
    content = json.loads(file.read_text())
    content["settings"][name] = value
    file.write_text(json.dumps(content))


def rewrite_last(file):
    rewrite(file, last_checkpoint="0" * 64)


@pytest.mark.damage
@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("damage", DAMAGED_RUNS)
def test_a_damaged_run(damage, teacher, tmp_path):
    name, harm = DAMAGED_RUNS[damage]
    harm(teacher / name)
    before = everything(tmp_path)
    for args in (
        ["cache", "build", teacher, "--out", tmp_path / "cache"],
        ["distill", tmp_path / "student", "--teacher", teacher],
        ["compare-teachers", teacher, "--out", tmp_path / "report.json"],
    ):
        said = refusal(*args)
        assert f"teacher/{name}" in said.replace(" ", "") or name in said
        assert any(way in said for way in ("--overwrite", "TrajectoryRecorder"))
    assert everything(tmp_path) == before


def code_in_a_model(file):
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Lambda(lambda x: x),
            keras.layers.Flatten(),
        ]
    )
    model.save(file)


def claims(file):
    """A distiller whose models are larger than the file."""
    student, teacher = (
        keras.Sequential([keras.Input((64,)), keras.layers.Dense(10, name="only")])
        for _ in range(2)
    )
    keras_kd.Distiller(teacher, student, keras_kd.losses.LogitMSE()).save(file)
    with zipfile.ZipFile(file) as parts:
        content = {name: parts.read(name) for name in parts.namelist()}
    config = content["config.json"]
    assert config.count(b'"units": 10,') == 2
    content["config.json"] = config.replace(b'"units": 10,', b'"units": 100000000000,')
    with zipfile.ZipFile(file, "w") as parts:
        for name, part in content.items():
            parts.writestr(name, part)


@pytest.mark.damage
@pytest.mark.parametrize(
    "harm",
    [
        claims,
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(file.read_bytes()[:-200]),
        lambda file: file.write_bytes(bytes(1000)),
        code_in_a_model,
    ],
    ids=["claims", "empty", "torn", "zeroed", "code"],
)
def test_a_damaged_model(harm, teacher):
    harm(teacher / "model.keras")
    said = refusal("evaluate", teacher)
    assert "model.keras cannot be loaded" in said
    assert ("claims weights of" in said) == (harm is claims)
    assert "train or save the model again" in said


@pytest.mark.wrong_input
@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999", "1e300"])
@pytest.mark.parametrize("option", ["--temperature", "--alpha", "--learning-rate"])
def test_numbers_that_are_none(option, value, teacher, tmp_path):
    args = ["--teacher", teacher, option, value]
    said = refusal("distill", tmp_path / "student", *args)
    assert option in said
    assert not (tmp_path / "student").exists()
