"""A whole study, small: every method, resumed, extended, refused."""

import re
import shutil
import subprocess
from pathlib import Path

import keras
import numpy as np
import pytest
from small_study import SMALL, Watch, numbers, small
from typer.testing import CliRunner

from keras_kd.cli.commands import app
from keras_kd.datasets import load
from keras_kd.experiments import METHODS, build, run
from keras_kd.experiments.fitting import optimizer
from keras_kd.experiments.studies import results
from keras_kd.experiments.studies.cell import Data
from keras_kd.experiments.studies.images import Images
from keras_kd.experiments.studies.provenance import provenance
from keras_kd.teachers import TeacherTrajectory

pytestmark = pytest.mark.one_backend


def every_method(**changes):
    return small(methods=",".join(METHODS), **changes)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    watch = Watch()
    records = run(every_method(), folder, watch=watch)
    return folder, records, watch


def test_every_method(study):
    folder, records, watch = study
    assert [r["method"] for r in records[1:]] == list(METHODS)
    assert watch.done == [(0, 13), *((i, 13) for i in range(14))]
    assert results.read(folder / "results.jsonl") == records
    for record in records:
        assert 0 <= record["test_accuracy"] <= 1
        assert record["versions"]["backend"] == keras.backend.backend()
        assert len(record["history"]["loss"]) == (
            4 if record["method"] == "teacher" else 2
        )
    by_method = {r["method"]: r for r in records}
    assert by_method["together"]["fidelity"] is None
    offline = by_method["offline"]
    student = build("lenet5", (8, 8, 1), 10, seed=5, width=0.2)
    student.load_weights(folder / offline["cell"] / "student.weights.h5")
    teacher = np.load(next(folder.glob("*/seed-0/test-logits-trajectory.npy")))
    outputs = student.predict(load("digits", n_test=32).x_test, verbose=0)
    agreement = np.mean(outputs.argmax(-1) == teacher.argmax(-1))
    assert offline["fidelity"] == agreement
    # Others than those of the plain student, and of each other.
    losses = {m: tuple(r["history"]["val_accuracy"]) for m, r in by_method.items()}
    assert len(losses) == 14
    checkpoints = {
        m: r["history"].get("teacher_checkpoint") for m, r in by_method.items()
    }
    assert checkpoints["online"] == [1, 3]
    assert checkpoints["online_averaged"] == [1, 3]
    assert checkpoints["equal_epochs"] == [1, 3]
    assert checkpoints["online_hold"] == [2, 3]
    drops = -np.diff(by_method["teacher"]["history"]["loss"])
    assert checkpoints["phase_transition"] == [np.argmax(drops), 3]
    assert checkpoints["offline"] is None


def test_the_averaged_trajectory_is_another_one(study):
    folder, _, _ = study
    teacher = next(folder.glob("*/seed-0/teacher"))
    raw, averaged = (
        TeacherTrajectory(teacher / name) for name in ("trajectory", "averaged")
    )
    assert averaged.ema == 0.99
    assert raw.ema is None
    assert raw[-1].sha256 != averaged[-1].sha256


def test_results_know_the_commit():
    """In a checkout; what is installed from a package has none."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        pytest.skip("This is no checkout.")
    command = ["git", "rev-parse", "HEAD"]
    made = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    commit = provenance()["commit"]
    assert commit.removesuffix("+") == made.stdout.strip()


def test_nothing_is_run_twice_and_seeds_are_added(study):
    folder, records, _ = study
    watch = Watch()
    assert run(every_method(), folder, watch=watch) == records
    assert watch.labels == []


def test_results_are_enough_to_go_on(tmp_path):
    recipe = small(methods="none,offline,born_again")
    whole = run(recipe, tmp_path)
    file = tmp_path / "results.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:3]))
    shutil.rmtree(next(tmp_path.glob("digits-*")))
    # Of those that are gone only the student that is born again is needed.
    again = run(recipe, tmp_path)
    assert numbers(again) == numbers(whole)
    assert not list(tmp_path.glob("*/seed-0/teacher"))
    assert len(file.read_text().splitlines()) == len(lines) == 4


@pytest.mark.wrong_input
def test_what_does_not_belong_to_a_folder(study, tmp_path):
    folder, records, _ = study
    with pytest.raises(ValueError, match="epochs=3, and 2 there"):
        run(every_method(epochs="3"), folder)
    other = records[0] | {"versions": {"backend": "theano"}}
    results.append(tmp_path / results.RESULTS, other)
    with pytest.raises(ValueError, match=r"same backend.*results of theano there"):
        run(every_method(), tmp_path)


@pytest.mark.wrong_input
def test_nothing_is_kept_of_a_recipe_that_cannot_run(tmp_path):
    with pytest.raises(ValueError, match="n_train=100000 and n_validation=16 together"):
        run(small(**{"data.n_train": "100000"}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_another_teacher_than_in_the_results(tmp_path):
    recipe = small(methods="none")
    run(recipe, tmp_path)
    file = tmp_path / results.RESULTS
    teacher = results.read(file)[0]
    teacher["history"]["loss"][0] += 1e-6
    shutil.rmtree(next(tmp_path.glob("digits-*")))
    file.unlink()
    results.append(file, teacher)
    with pytest.warns(UserWarning, match="teacher/seed-0' was trained again"):
        run(recipe, tmp_path)


def test_a_schedule_by_steps():
    def rates(made, steps):
        for step in range(steps):
            made.iterations.assign(step)
            yield float(made.learning_rate)

    by_steps = list(rates(optimizer(0.8, 8, (0.25, 0.75)), 8))
    assert by_steps == pytest.approx([0.8] * 2 + [0.08] * 4 + [0.008] * 2)
    # Without milestones: a step of warm-up, then half a period of a cosine.
    cosine = list(rates(optimizer(0.8, 9), 9))
    expected = [0, *(0.4 * (1 + np.cos(np.pi * i / 8)) for i in range(8))]
    assert cosine == pytest.approx(expected, rel=1e-5)


def test_every_training_has_the_recipes_schedule(tmp_path, monkeypatch):
    schedules = []

    def noted(learning_rate, total_steps, milestones=()):
        schedules.append((learning_rate, total_steps, milestones))
        return optimizer(learning_rate, total_steps, milestones)

    monkeypatch.setattr("keras_kd.experiments.fitting.optimizer", noted)
    short = {"epochs": "1", "teacher_epochs": "2", "milestones": "0.5"}
    run(small(methods="none,assistant", **short), tmp_path)
    student, teacher, assistant = (0.05, 3), (0.1, 6), (0.1, 3)
    assert schedules == [
        (*one, (0.5,)) for one in (student, teacher, assistant, student)
    ]


def test_born_again_from_other_weights(tmp_path, monkeypatch):
    """Or it would be on its teacher's way from the first batch on."""
    built = []

    def noted(network, *args, seed, **kwargs):
        built.append((network, seed))
        return build(network, *args, seed=seed, **kwargs)

    monkeypatch.setattr("keras_kd.experiments.studies.repetition.build", noted)
    run(small(methods="none,born_again", students="lenet5:0.2"), tmp_path)
    student, teacher, again = built
    assert student == teacher == ("lenet5", 0)
    assert again[1] >= 10_000


def test_interrupted_and_extended(tmp_path):
    recipe = small(
        methods="none,online",
        learning_rates="0.05,0.2",
        higher_learning_rates="",
        **{"data.n_train": "16"},
    )
    two = recipe.with_settings({"seeds": "2"})
    whole = run(two, tmp_path / "whole")
    # Students and the teacher, after their first and after their last epoch.
    for place in ((1, 1), (2, 0), (3, 1)):
        with pytest.raises(KeyboardInterrupt):
            run(recipe, tmp_path / "parts", watch=Watch(place))
    run(recipe, tmp_path / "parts")
    parts = run(two, tmp_path / "parts")
    assert numbers(parts) == numbers(whole)
    # With the second seed only the rates that were chosen with the first.
    cells = [r["cell"].split("/", 2)[-1] for r in whole]
    assert len(cells) == 1 + 2 * 2 + 1 + 2
    rates = {
        r["method"]: r["learning_rate"]
        for r in whole
        if r["seed"] == 1 and r["method"] != "teacher"
    }
    for method, rate in rates.items():
        tried = {
            r["learning_rate"]: r["validation_accuracy"]
            for r in whole
            if r["seed"] == 0 and r["method"] == method
        }
        assert tried[rate] == max(tried.values())


def test_higher_learning_rates(tmp_path, monkeypatch):
    """Each while the one before was better than all below; then other seeds follow."""
    scores = {0.1: 0.5, 0.2: 0.6, 0.4: 0.7, 0.8: 0.7}

    def measured(self, student, supervision):
        return {
            "test_accuracy": 0.5,
            "validation_accuracy": scores[student.learning_rate],
            "fidelity": None,
            "ntk_similarity": None,
        }

    def fitted(model, *args, learning_rate, **kwargs):
        model.learning_rate = learning_rate
        return {"loss": [1.0]}, 1.0

    monkeypatch.setattr(
        "keras_kd.experiments.studies.repetition.Repetition._measure", measured
    )
    monkeypatch.setattr("keras_kd.experiments.studies.repetition.fit", fitted)
    recipe = small(
        methods="none",
        learning_rates="0.1,0.2",
        higher_learning_rates="0.4,0.8,1.6",
        seeds="2",
    )
    watch = Watch()
    records = run(recipe, tmp_path, watch=watch)
    tried = [(r["seed"], r["learning_rate"]) for r in records]
    # 0.8 was as good as 0.4, which is the safer one.
    assert tried == [(0, 0.1), (0, 0.2), (0, 0.4), (0, 0.8), (1, 0.4)]
    # Not known to be so many before they are needed.
    assert watch.done == [(0, 3), (1, 3), (2, 4), (3, 5), (4, 5), (5, 5)]


def test_augmented_images_have_a_running_teacher(tmp_path):
    recipe = small(methods="online,early_stopped", **{"data.crop_and_flip": "True"})
    records = run(recipe, tmp_path)
    assert [r["method"] for r in records] == ["teacher", "online", "early_stopped"]
    assert not list(tmp_path.glob("**/supervision*"))
    assert records[1]["history"]["teacher_checkpoint"] == [1, 3]


def test_command_line(tmp_path):
    def invoke(*args):
        result = CliRunner().invoke(app, [str(arg) for arg in args])
        return result.exit_code, result.output

    listed = "".join(invoke("recipes")[1].split())
    assert "noisy_fashion_mnist" in listed
    assert "…" not in listed
    settings = re.split(
        r"\s*[│\n]\s*", invoke("recipes", "cifar10-resnet56-lenet5x8")[1]
    )
    at = settings.index("batch_size")
    assert settings[at + 1 : at + 3] == ["128", "paper, recalled"]
    code, said = invoke("recipes", "none")
    assert code == 2
    assert "'none' is none" in said
    folder = tmp_path / "run"
    changes = SMALL | {
        "methods": "online",
        "ntk_images": "4",
        "complexity_images": "8",
        "seeds": "2",
    }
    sets = [word for k, v in changes.items() for word in ("--set", f"{k}={v}")]
    code, printed = invoke("run", "digits", "--out", folder, *sets)
    assert code == 0, printed
    students = [
        record
        for record in results.read(folder / "results.jsonl")
        if record["method"] == "online"
    ]
    assert [record["seed"] for record in students] == [0, 1]
    for record in students:
        assert 0 < record["ntk_similarity"] <= 1
        for name in ("labels", "offline", "online", "average"):
            values = record["history"][f"complexity_{name}"]
            assert len(values) == 2
            assert min(values) > 0
        # In the last epoch the current teacher is the final one.
        last = {k: v[-1] for k, v in record["history"].items()}
        assert last["complexity_online"] == pytest.approx(
            last["complexity_offline"], rel=1e-4
        )
    shown = f"{100 * np.mean([record['test_accuracy'] for record in students]):.1f}"
    assert shown in printed
    code, printed = invoke("report", folder)
    assert code == 0, printed
    text = (folder / "report" / "digits.md").read_text()
    assert shown in text
    assert invoke("run", "digit")[0] == 2
    code, printed = invoke("run", "digits", "--out", tmp_path / "b", "--set", "epochs")
    assert (code, "KEY=VALUE" in printed) == (2, True)
    code, printed = invoke("run", "digits", "--out", tmp_path / "b", "--set", "x=1")
    assert code == 2
    assert not (tmp_path / "b").exists()
    assert invoke("report", tmp_path / "b")[0] == 2
    twin = shutil.copytree(folder, tmp_path / "twin")
    code, printed = invoke("report", folder, twin, "--out", tmp_path / "c")
    assert code == 2
    assert "two of these are of the same" in " ".join(printed.replace("│", "").split())
    assert not (tmp_path / "c").exists()


def test_command_line_stopped_by_hand(tmp_path, monkeypatch):
    def stopped(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("keras_kd.experiments.studies.runner.run", stopped)
    result = CliRunner().invoke(app, ["run", "digits", "--out", str(tmp_path / "r")])
    assert result.exit_code != 0
    assert "the same command goes on where it was" in " ".join(result.output.split())


def test_label_noise_is_in_training_and_validation_alone(tmp_path):
    clean, noisy = (
        Images.load(Data("digits", 100, 100, 50, label_noise=share))
        for share in (0.0, 0.25)
    )
    changed = [
        np.sum(a != b)
        for a, b in (
            (clean.dataset.y_train, noisy.dataset.y_train),
            (clean.validation[1], noisy.validation[1]),
        )
    ]
    assert sum(changed) == 50
    assert min(changed) > 10
    np.testing.assert_array_equal(clean.dataset.y_test, noisy.dataset.y_test)
    np.testing.assert_array_equal(clean.dataset.x_train, noisy.dataset.x_train)
    everyone = np.concatenate([clean.dataset.x_train, clean.validation[0]])
    assert len(np.unique(everyone.reshape(200, -1), axis=0)) == 200


def test_passes_over_few_images_in_one_epoch(tmp_path):
    few = Images.load(Data("digits", 10, 100, 50, passes=3))
    batches = few.batches(4, 0)
    seen = np.concatenate([batches[i][0] for i in range(len(batches))])
    _, counts = np.unique(seen, axis=0, return_counts=True)
    assert counts.tolist() == [3] * 10
    recipe = small(methods="online", **{"data.passes": "2"})
    record = run(recipe, tmp_path)[-1]
    assert record["n_train"] == 48
    assert record["cell"].startswith("digits-48x2/")
    trajectory = TeacherTrajectory(next(tmp_path.glob("*/seed-0/teacher/trajectory")))
    # Four epochs of 96 images in batches of 16.
    assert [c.step for c in trajectory] == [6, 12, 18, 24]
