"""What the outputs mean goes along with what was recorded, and may be unknown."""

import dataclasses
import json

import keras
import numpy as np
import pytest
from tiny_teachers import train_by_hand

from keras_kd import SupervisionCache, TeacherTrajectory, TrajectoryRecorder
from keras_kd.teachers.cache.manifest import CacheManifest
from keras_kd.teachers.trajectory.manifest import Manifest

X = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")


def two_outputs():
    inputs = keras.Input((4,))
    outputs = {
        "species": keras.layers.Dense(3)(inputs),
        "age": keras.layers.Dense(1)(inputs),
    }
    return keras.Model(inputs, outputs)


def build(folder, teacher=None, **kwargs):
    return SupervisionCache.build(
        teacher or two_outputs(), X, folder, dtype="float32", progress=False, **kwargs
    )


def edit(file, change):
    content = json.loads(file.read_text())
    content.pop("sha256", None)  # of a file that was never sealed, or no longer
    change(content)
    file.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("output_kind", "kinds"),
    [
        (None, [None, None]),
        ({"age": "continuous"}, ["continuous", None]),
        ("bernoulli", ["bernoulli", "bernoulli"]),
        # In the order of `keras.tree.flatten`: by name.
        (
            {"species": "categorical", "age": "continuous"},
            ["continuous", "categorical"],
        ),
        (["continuous", None], ["continuous", None]),
    ],
)
def test_of_a_cache(output_kind, kinds, tmp_path):
    cache = build(tmp_path, output_kind=output_kind)
    assert cache.output_kinds == SupervisionCache(tmp_path).output_kinds == kinds
    assert json.loads((tmp_path / "supervision.json").read_text())["output_kinds"] == (
        kinds
    )


@pytest.mark.wrong_input
@pytest.mark.parametrize(
    ("output_kind", "message"),
    [
        ("softmax", r"`output_kind` must be one of \['categorical', .*'softmax'"),
        ({"species": 3, "age": "continuous"}, r"`output_kind` must be one of .*=3"),
        (["categorical"], "must have one kind for each of the 2 outputs.*: 1 kinds"),
        (
            {"sex": "bernoulli"},
            r"must name outputs .*'age', 'species'.*names \['sex'\]",
        ),
    ],
)
def test_kinds_that_a_cache_refuses(output_kind, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        build(tmp_path / "cache", output_kind=output_kind)
    assert list(tmp_path.iterdir()) == []


def test_of_a_trajectory(tmp_path):
    train_by_hand(two_outputs(), TrajectoryRecorder(tmp_path), epochs=1)
    assert TeacherTrajectory(tmp_path).output_kinds == [None, None]
    manifest = Manifest.read(tmp_path)
    kinds = ["continuous", "categorical"]
    dataclasses.replace(manifest, output_kinds=kinds).write()
    assert Manifest.read(tmp_path).output_kinds == kinds
    assert TeacherTrajectory(tmp_path).output_kinds == kinds


def test_a_recording_that_goes_on_keeps_them(tmp_path):
    model = two_outputs()
    train_by_hand(model, TrajectoryRecorder(tmp_path), epochs=1)
    kinds = ["continuous", "categorical"]
    dataclasses.replace(Manifest.read(tmp_path), output_kinds=kinds).write()
    train_by_hand(model, TrajectoryRecorder(tmp_path), epochs=2, initial_epoch=1)
    trajectory = TeacherTrajectory(tmp_path)
    assert len(trajectory) == 2
    assert trajectory.output_kinds == kinds


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recorded")
    train_by_hand(two_outputs(), TrajectoryRecorder(folder / "trajectory"), epochs=1)
    build(folder / "cache", output_kind="continuous")
    return folder


READERS = {
    "trajectory/trajectory.json": TeacherTrajectory,
    "cache/supervision.json": SupervisionCache,
}


@pytest.mark.parametrize("name", READERS)
def test_entries_of_other_releases(name, recorded):
    """One that is missing was not known earlier; one that is new is not looked at."""
    file = recorded / name
    edit(file, lambda content: content.pop("output_kinds"))
    assert READERS[name](file.parent).output_kinds is None
    edit(file, lambda content: content.update(output_kinds=None, news=[1]))
    assert READERS[name](file.parent).output_kinds is None


@pytest.mark.attack
@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize(
    "kinds", ["categorical", ["softmax", "continuous"], [["continuous"]], {}, 3]
)
def test_entries_that_are_no_kinds(name, kinds, recorded):
    file = recorded / name
    edit(file, lambda content: content.update(output_kinds=kinds))
    with pytest.raises(ValueError, match=r"cannot be read: .*output_kinds"):
        READERS[name](file.parent)


@pytest.mark.wrong_input
def test_too_many_kinds_for_a_cache(recorded):
    file = recorded / "cache/supervision.json"
    edit(file, lambda content: content.update(output_kinds=["continuous"] * 3))
    with pytest.raises(ValueError, match="it has 3 'output_kinds' for 2 outputs"):
        SupervisionCache(file.parent)


def test_they_tell_caches_apart_only_where_both_are_known(tmp_path):
    teacher = two_outputs()
    cache = build(tmp_path, teacher, output_kind="continuous")
    manifest = CacheManifest.read(tmp_path)
    for kinds, differences in (
        (["continuous"] * 2, []),
        (None, []),
        (["continuous", None], []),
        (["continuous", "categorical"], ["output_kinds"]),
    ):
        other = dataclasses.replace(manifest, output_kinds=kinds)
        assert manifest.differences(other) == differences
        assert other.differences(manifest) == differences
    assert build(tmp_path, teacher).output_kinds == cache.output_kinds
    with pytest.raises(ValueError, match="another output_kinds"):
        build(tmp_path, teacher, output_kind="categorical")
