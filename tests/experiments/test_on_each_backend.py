"""What may differ by backend of studies and commands; all else runs on one."""

import json

import pytest
from small_study import Watch, numbers, small
from typer.testing import CliRunner

from keras_kd.cli.commands import app
from keras_kd.experiments import run as run_study

SMALL = ["--n-train", "96", "--batch-size", "32", "--epochs", "2"]
LENET = ["--network", "lenet5", "--width", "0.2"]


def run(*args):
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "teacher"
    run("train-teacher", folder, *SMALL, *LENET)
    return folder


def test_cache(teacher, tmp_path):
    folder = tmp_path / "supervision"
    built = run("cache", "build", teacher, "--out", folder, "--dtype", "float32").output
    assert "596 images, 2 checkpoints" in " ".join(built.split())
    printed = run("cache", "info", folder).output
    for word in ("lenet5", "596, with labels", "all logits in float32", "accuracy"):
        assert word in printed
    assert "as they were written" in " ".join(
        run("cache", "verify", folder).output.split()
    )

    args = ["--teacher", teacher, *SMALL, *LENET]
    records = []
    for name, more in (("live", []), ("cached", ["--cache", folder])):
        run("distill", tmp_path / name, *args, *more)
        records.append(json.loads((tmp_path / name / "run.json").read_text()))
    live, cached = (record["history"] for record in records)
    assert live.keys() == cached.keys()
    for key in live:
        assert live[key] == pytest.approx(cached[key], rel=1e-4, abs=1e-6)


def test_an_interrupted_study_goes_on(tmp_path):
    """The teacher after its third epoch, the student after its first."""
    recipe = small(methods="online", **{"data.n_train": "16"})
    whole = run_study(recipe, tmp_path / "whole")
    for place in ((1, 2), (2, 0)):
        with pytest.raises(KeyboardInterrupt):
            run_study(recipe, tmp_path / "parts", watch=Watch(place))
    parts = run_study(recipe, tmp_path / "parts")
    assert numbers(parts) == numbers(whole)
    assert [record["method"] for record in parts] == ["teacher", "online"]
