"""`keras-kd compare-teachers` on recorded teachers of a few real images."""

import json
from typing import get_args

import pytest
from typer.testing import CliRunner

from keras_kd import datasets
from keras_kd.cli import compare_teachers as cli
from keras_kd.cli.commands import app
from keras_kd.complexity.ranking.criteria import criteria_of
from keras_kd.complexity.ranking.report import TeacherReport
from keras_kd.outputs import categorical

pytestmark = pytest.mark.one_backend

STUDENT = ["--student-network", "lenet5", "--width", "0.2", "--n", "60"]


def run(*args, fails=False):
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    assert (result.exit_code != 0) == fails, result.output
    return result


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "teacher"
    run(
        *("train-teacher", folder, "--n-train", "96", "--batch-size", "32"),
        *("--epochs", "2", "--network", "lenet5", "--width", "0.2"),
    )
    return folder


def test_ranks_checkpoints_and_temperatures(teacher, tmp_path):
    file = tmp_path / "new" / "report.json"
    args = ["--temperature", 1, "--temperature", "4", "--out", file]
    printed = run("compare-teachers", teacher, *STUDENT, *args).output
    report = TeacherReport.from_json(file.read_text())
    assert [(r.teacher, r.step, r.temperature) for r in report.rows] == [
        ("teacher", step, tau) for step in (3, 6) for tau in (1, 4)
    ]
    assert (report.n, report.n_heldout) == (45, 15)
    assert str(report).strip() in printed
    assert str(file) in printed
    assert not any(row.bound.valid for row in report.rows)
    assert file.with_suffix(".png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_images_that_no_teacher_has_seen(teacher, tmp_path):
    file = tmp_path / "report.json"
    args = ["--images", "test", "--criterion", "bound_total", "--features", 16]
    run("compare-teachers", teacher, *STUDENT, *args, "--out", file)
    report = TeacherReport.from_json(file.read_text())
    assert all(row.bound.valid for row in report.rows)
    assert report.criterion == "bound_total"
    assert report.features == 16
    assert len(report.rows) == 8


def test_several_teachers_have_names_of_their_own(teacher, tmp_path):
    other = tmp_path / "teacher"
    other.symlink_to(teacher)
    third = tmp_path / "third"
    third.symlink_to(teacher)
    assert cli._names([teacher, other]) == [str(teacher), str(other)]
    assert cli._names([teacher]) == ["teacher"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--temperature", "0"], "Error: `temperatures` must be a finite number > 0"),
        (["--temperature", "1e300"], "Error: `temperatures` must be in [1e-6, 1e6]"),
        (["--n", "100000"], "Error: `n_train` must be between 1 and"),
        (["--student-network", "resnet8", "--width", "2"], "Error: `width` is for"),
        (["--data-folder", "nowhere"], "Error: `folder` must be an existing folder"),
        (["--n", "1"], "'--n'"),
        (["--criterion", "loss"], "'--criterion'"),
        (["--out", "report.png"], "end in .json"),
        (["--out", "."], "is a folder"),
    ],
)
def test_errors_write_nothing(args, message, teacher, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("compare-teachers", teacher, *STUDENT, *args, fails=True)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())
    assert not list(tmp_path.iterdir())


@pytest.mark.wrong_input
def test_what_is_no_teacher_is_refused_first(teacher, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "load", None)
    lines = run("compare-teachers", tmp_path, fails=True).stderr.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("Error: There is no teacher trajectory")

    unfinished, other = tmp_path / "unfinished", tmp_path / "other"
    for folder in (unfinished, other):
        folder.mkdir()
        (folder / "trajectory").symlink_to(teacher / "trajectory")
    assert "has train-teacher finished?" in run(
        "compare-teachers", unfinished, fails=True
    ).stderr.replace("\n", " ")

    record = json.loads((teacher / "run.json").read_text())
    record["settings"]["dataset"] = "mnist"
    (other / "run.json").write_text(json.dumps(record))
    message = run("compare-teachers", teacher, other, fails=True).stderr
    assert "teachers of one data set" in " ".join(message.replace("│", " ").split())
    twice = run("compare-teachers", teacher, teacher, fails=True).stderr
    assert "given once" in " ".join(twice.replace("│", " ").split())


def test_criteria_are_those_of_classes():
    assert set(get_args(cli.Criterion)) == set(criteria_of(categorical))


def test_help_teaches():
    printed = " ".join(run("compare-teachers", "--help").output.split())
    for words in ("RUN...", "not yet trained", "--student-network", "held out"):
        assert words in printed
    assert "compare-teachers" in run("--help").output
