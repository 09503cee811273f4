"""Damaged files of a study: each is named, with the way out."""

import json
import multiprocessing
import os
import shutil

import pytest
from made_up_results import record, write
from small_study import numbers, small

from keras_kd.experiments import Report, run
from keras_kd.experiments.reports.overview import Overview
from keras_kd.experiments.snapshot import Snapshot
from keras_kd.experiments.studies import results
from keras_kd.experiments.studies.folder import alone

pytestmark = pytest.mark.one_backend


def flipped(content, at=0.5):
    place = int(at * len(content))
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


DAMAGES = {
    "flipped": flipped,
    "cut": lambda content: content[: len(content) // 2],
    "emptied": lambda content: b"",
    "zeroed": lambda content: bytes(len(content)),
}


def damage(file, how):
    file.write_bytes(DAMAGES[how](file.read_bytes()))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study") / "run"
    recipe = small(methods="none,offline,born_again", ntk_images="4")
    return recipe, folder, run(recipe, folder)


@pytest.mark.damage
@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize(
    "name",
    [
        "recipe.json",
        "*/seed-0/teacher-ntk-4.npy",
        "*/seed-0/test-logits-trajectory.npy",
        "*/seed-0/teacher/run.json",
        "*/lenet5x0.2/none/*/seed-0/student.weights.h5",
    ],
)
def test_each_damage_is_named(name, how, study, tmp_path):
    recipe, folder, whole = study
    folder = shutil.copytree(folder, tmp_path / "run")
    # The last student is trained again, from what is there.
    file = folder / "results.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:-1] if "weights" in name else lines[:-2]))
    (damaged,) = folder.glob(name)
    damage(damaged, how)
    with pytest.raises(ValueError, match=rf"{damaged.name}' is damaged.*Delete it"):
        run(recipe, folder)
    if how == "flipped":  # Once for each file: it trains.
        damaged.unlink()
        assert numbers(run(recipe, folder)) == numbers(whole)


@pytest.mark.damage
@pytest.mark.parametrize("at", [0.1, 0.4, 0.7, 0.95])
def test_a_flipped_byte_in_results(at, tmp_path):
    folder = write(tmp_path / "run", [record("online", 0, 0.5)])
    file = folder / results.RESULTS
    file.write_bytes(flipped(file.read_bytes(), at))
    with pytest.raises(ValueError, match=r"results.jsonl' is damaged: line 1"):
        Report(folder)


@pytest.mark.damage
def test_zeroed_results(tmp_path):
    folder = write(tmp_path / "run", [record("online", 0, 0.5)])
    damage(folder / results.RESULTS, "zeroed")
    with pytest.raises(ValueError, match=r"nothing but zeros\. Delete it"):
        Report(folder)


@pytest.mark.attack
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recipe": "../../README"}, "names without a folder.*README"),
        ({"recipe": "/etc/passwd"}, "names without a folder"),
        ({"seed": "0"}, "has seed='0'"),
        ({"method": "magic"}, "has method='magic'"),
        ({"history": None}, "has history=None"),
        ({"versions": {}}, "has no 'backend'"),
        ({"test_accuracy": None}, "has test_accuracy=None"),
    ],
)
def test_results_that_nobody_wrote(change, message, tmp_path):
    folder = write(tmp_path / "run", [record("online", 0, 0.5) | change])
    with pytest.raises(ValueError, match=message):
        Report(folder)


@pytest.mark.damage
@pytest.mark.parametrize("name", list(record("online", 0, 0.5)))
def test_a_missing_key(name, tmp_path):
    made = record("online", 0, 0.5)
    del made[name]
    folder = write(tmp_path / "run", [made])
    with pytest.raises(ValueError, match=rf"results.jsonl' is damaged.*no '{name}'"):
        Report(folder)


@pytest.mark.attack
@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a": Infinity}', '{"a": 1e999}', "3"]
)
def test_a_line_that_json_does_not_have(text, tmp_path):
    (tmp_path / results.RESULTS).write_text(text + "\n")
    with pytest.raises(ValueError, match=r"results.jsonl' is damaged: line 1"):
        Report(tmp_path)
    shutil.copy(tmp_path / results.RESULTS, tmp_path / results.RECIPE)
    (tmp_path / results.RESULTS).unlink()
    results.append(tmp_path / results.RESULTS, record("none", 0, 0.5))
    with pytest.raises(ValueError, match=r"recipe.json' is damaged.*Delete it"):
        Report(tmp_path)


def test_a_line_twice_is_one_seed(tmp_path):
    folder = write(tmp_path / "run", [record("online", 0, 0.5), record("none", 0, 0.4)])
    file = folder / results.RESULTS
    file.write_text(3 * file.read_text())
    assert results.read(file) == Report(folder).students[::-1]


@pytest.mark.attack
def test_results_that_are_no_file_of_their_own(tmp_path):
    outside = tmp_path / "outside"
    outside.write_text("kept")
    (tmp_path / results.RESULTS).symlink_to(outside)
    with pytest.raises(ValueError, match="Received: a link"):
        results.append(tmp_path / results.RESULTS, {})
    assert outside.read_text() == "kept"


def test_lost_results_get_their_teacher_back(study, tmp_path):
    recipe, folder, whole = study
    folder = shutil.copytree(folder, tmp_path / "run")
    (folder / results.RESULTS).unlink()
    assert numbers(run(recipe, folder)) == numbers(whole)


@pytest.mark.damage
@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_snapshot(how, tmp_path):
    file = tmp_path / "snapshot.npz"

    def restored(epochs):
        import keras
        import numpy as np

        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        model.compile("adam", "mse")
        snapshot = Snapshot(file)
        begin = snapshot.restore(model)
        x = np.ones((4, 2), "float32")
        model.fit(x, x[:, :1], epochs=epochs, callbacks=[snapshot], verbose=0)
        return begin

    assert restored(1) == 0
    damage(file, how)
    with pytest.raises(ValueError, match=r"snapshot.npz' is damaged: .*Delete it"):
        restored(1)
    file.unlink()
    assert restored(1) == 0


def test_a_student_that_diverges(tmp_path):
    recipe = small(methods="none,offline", learning_rates="1e18", ntk_images="4")
    recipe = recipe.with_settings({"teacher_learning_rate": "0.05"})
    records = run(recipe, tmp_path)
    assert [r["method"] for r in records] == ["teacher", "none", "offline"]
    for one in records[1:]:
        assert one["diverged"] is True
        assert one["ntk_similarity"] is None


def _run(folder, answer):
    try:
        run(small(methods="none"), folder)
        answer.send("ran")
    except BlockingIOError as error:
        answer.send(str(error))
    os._exit(0)


def test_one_process_a_folder(tmp_path):
    receive, answer = multiprocessing.Pipe()
    with alone(tmp_path):
        process = multiprocessing.get_context("spawn").Process(
            target=_run, args=(tmp_path, answer)
        )
        process.start()
        assert receive.recv() == f"Another process runs a recipe in '{tmp_path}'."
        process.join()
    assert not list(tmp_path.iterdir())


def test_one_seed_compared(tmp_path):
    made = [record("online", 0, 0.5), record("offline", 0, 0.4)]
    overview = Overview([write(tmp_path / "run", made)])
    assert "takes 3 seeds, and these have at most 1" in overview.markdown()
    assert "--seeds 3" in str(overview.terminal().caption)


def test_what_has_no_checksum_is_believed(tmp_path):
    made = record("online", 0, 0.5)
    (tmp_path / results.RESULTS).write_text(json.dumps(made) + "\n")
    assert Report(tmp_path).students == [made]
