"""Trajectories that somebody has made up: each is refused, and nothing is touched."""

import hashlib
import json
import shutil
import zipfile

import h5py
import keras
import numpy as np
import pytest
from tiny_teachers import make_teacher, same, train_by_hand

from keras_kd.teachers import TeacherTrajectory, TrajectoryRecorder

pytestmark = pytest.mark.one_backend


def everything(folder):
    return {p: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def checkpoint(**changes):
    """Of the first checkpoint's entry."""

    def change(content):
        content["checkpoints"][0].update(changes)

    return change


def entries(**changes):
    return lambda content: content.update(changes)


def variable(**changes):
    return lambda content: content["variables"][0].update(changes)


MADE_UP = {
    "file outside": checkpoint(file="../outside.weights.h5"),
    "absolute file": checkpoint(file="/etc/passwd"),
    "file below": checkpoint(file="a/step-00000003.weights.h5"),
    "another's file": checkpoint(file="notes.txt"),
    "no file": checkpoint(file=None),
    "long name": checkpoint(file="step-" + "0" * 9999 + ".weights.h5"),
    "one file twice": checkpoint(file="step-00000006.weights.h5"),
    "negative size": checkpoint(size=-1),
    "size in words": checkpoint(size="many"),
    "fraction of a step": checkpoint(step=2.5),
    "step 0": checkpoint(step=0),
    "boolean step": checkpoint(step=True),
    "negative epoch": checkpoint(epoch=-1),
    "no digest": checkpoint(sha256=""),
    "metrics in words": checkpoint(metrics={"loss": "low"}),
    "metrics in a list": checkpoint(metrics=[1]),
    "average of minus one": checkpoint(ema_updates=-1),
    "model in words": entries(model="teacher"),
    "checkpoints in words": entries(checkpoints="all"),
    "checkpoints of numbers": entries(checkpoints=[1, 2]),
    "variables in words": entries(variables="all"),
    "negative shape": variable(shape=[-5, 4]),
    "shape in words": variable(shape="large"),
    "shape of fractions": variable(shape=[1.5]),
    "path of a number": variable(path=3),
    "average of 2": entries(ema=2.0),
    "no steps an epoch": entries(steps_per_epoch=0),
    "finished in words": entries(finished="yes"),
    "spacing in words": entries(spacing="wide"),
    "spacing of 0": entries(spacing={"every": 0, "unit": "step", "growth": None}),
    "growth over 0": entries(spacing={"every": 1, "unit": "step", "growth": "1/0"}),
    "growth of 1": entries(spacing={"every": 1, "unit": "step", "growth": "1"}),
    "lost in words": entries(lost="some"),
    "kinds made up": entries(output_kinds=["votes"]),
}


@pytest.mark.attack
@pytest.mark.parametrize("attack", MADE_UP)
def test_a_manifest_that_is_made_up(trajectory, tmp_path, attack):
    path = trajectory.folder / "trajectory.json"
    (tmp_path / "outside.weights.h5").write_text("mine")
    content = json.loads(path.read_text())
    MADE_UP[attack](content)
    path.write_text(json.dumps(content))
    refused(trajectory.folder, tmp_path)


TEXTS = {
    "nothing": lambda text: "",
    "zeros": lambda text: "\0" * len(text),
    "half": lambda text: text[: len(text) // 2],
    "nested": lambda text: "[" * 10**5,
    "deep": lambda text: '{"format": ' + "[" * 300 + "]" * 300 + "}",
    "NaN": lambda text: text.replace('"step": 3', '"step": NaN'),
    "Infinity": lambda text: text.replace('"step": 3', '"step": Infinity'),
    "1e999": lambda text: text.replace('"step": 3', '"step": 1e999'),
    "digits": lambda text: text.replace('"step": 3', '"step": ' + "9" * 5000),
    "key twice": lambda text: text.replace('"step": 3', '"step": 3, "step": 3'),
}


@pytest.mark.attack
@pytest.mark.parametrize("attack", TEXTS)
def test_a_manifest_that_is_no_json(trajectory, tmp_path, attack):
    path = trajectory.folder / "trajectory.json"
    changed = TEXTS[attack](path.read_text())
    assert changed != path.read_text()
    path.write_text(changed)
    refused(trajectory.folder, tmp_path)


def refused(folder, around):
    """By who reads it and by who would go on with it, in one message."""
    before = everything(around)
    for use in (
        lambda: TeacherTrajectory(folder),
        lambda: train_by_hand(make_teacher(), TrajectoryRecorder(folder), epochs=1),
    ):
        with pytest.raises(ValueError, match=r"trajectory\.json cannot be read: ") as e:
            use()
        assert "`keras_kd.TrajectoryRecorder` writes one" in str(e.value)
        assert len(str(e.value)) < 700
        assert everything(around) == before


def external_link(file, outside):
    del file["layers/dense/vars/0"]
    file["layers/dense/vars/0"] = h5py.ExternalLink(str(outside), "secret")


def soft_link(file, outside):
    del file["layers/dense/vars/0"]
    file["layers/dense/vars/0"] = h5py.SoftLink("/layers/dense/vars/1")


def external_storage(file, outside):
    del file["layers/dense/vars/0"]
    file.create_dataset(
        "layers/dense/vars/0", (5, 4), "float32", external=[(str(outside), 0, 80)]
    )


def virtual(file, outside):
    del file["layers/dense/vars/0"]
    layout = h5py.VirtualLayout((5, 4), "float32")
    layout[:] = h5py.VirtualSource(str(outside), "secret", (5, 4))
    file.create_virtual_dataset("layers/dense/vars/0", layout)


def claims(file, outside):
    del file["layers/dense/vars/0"]
    file.create_dataset("layers/dense/vars/0", (10**6, 10**6), "f4", chunks=(64, 64))


def link_of_a_group(file, outside):
    del file["layers/dense"]
    file["layers/dense"] = h5py.ExternalLink(str(outside), "/")


@pytest.mark.attack
@pytest.mark.parametrize(
    "attack",
    [external_link, soft_link, external_storage, virtual, claims, link_of_a_group],
)
def test_weights_that_refer_elsewhere(trajectory, tmp_path, attack):
    """Under the right checksum."""
    outside = tmp_path / "outside.h5"
    with h5py.File(outside, "w") as file:
        file["secret"] = np.ones((5, 4), "float32")
    target = trajectory[0].file
    with h5py.File(target, "a") as file:
        attack(file, outside)
    content = target.read_bytes()
    path = trajectory.folder / "trajectory.json"
    manifest = json.loads(path.read_text())
    manifest["checkpoints"][0].update(
        size=len(content), sha256=hashlib.sha256(content).hexdigest()
    )
    path.write_text(json.dumps(manifest))
    model, before = make_teacher(), everything(tmp_path)
    weights = model.get_weights()
    for given in (model, None):
        with pytest.raises(ValueError, match=rf"{target.name}: .*record the teacher"):
            TeacherTrajectory(trajectory.folder).load(0, given)
    with pytest.raises(ValueError, match=f"`files` must hold weights .*{target.name}"):
        TeacherTrajectory.from_files([target], model=model)
    assert same(weights, model.get_weights())
    assert everything(tmp_path) == before


@pytest.mark.attack
def test_a_checkpoint_that_is_a_link(trajectory, tmp_path):
    outside = tmp_path / "outside.weights.h5"
    shutil.move(trajectory[0].file, outside)
    trajectory[0].file.symlink_to(outside)
    for use in (trajectory.check, lambda: trajectory.load(0)):
        with pytest.raises(ValueError, match="it is a link; put the file itself"):
            use()


@pytest.mark.attack
def test_variables_that_no_file_holds(trajectory):
    path = trajectory.folder / "trajectory.json"
    content = json.loads(path.read_text())
    content["variables"][0]["shape"] = [10**6, 10**6]
    content["model"]["config"]["layers"][1]["config"]["units"] = 10**6
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"have 4000\d+ bytes, and the file \d+"):
        TeacherTrajectory(trajectory.folder).load(0)


def claiming(content, units=10**11):
    """A model's config with a layer of so many units, which its variables deny."""
    (hidden,) = (
        x for x in content["config"]["layers"] if x["config"]["name"] == "hidden"
    )
    hidden["config"]["units"] = units
    return content


@pytest.mark.attack
def test_a_config_that_claims_what_no_file_holds(trajectory):
    """No memory is taken for it: there is not so much."""
    path = trajectory.folder / "trajectory.json"
    content = json.loads(path.read_text())
    claiming(content["model"])
    path.write_text(json.dumps(content))
    with pytest.raises(
        ValueError, match=r"claims weights of 24\d{11} bytes, and the f"
    ):
        TeacherTrajectory(trajectory.folder).load(0)


@pytest.mark.attack
@pytest.mark.parametrize("way", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_a_config_that_is_packed_past_the_check(way, tmp_path):
    make_teacher().save(tmp_path / "true.keras")
    forged = tmp_path / "forged.keras"
    with (
        zipfile.ZipFile(tmp_path / "true.keras") as parts,
        zipfile.ZipFile(forged, "w", way) as out,
    ):
        for name in parts.namelist():
            part = parts.read(name)
            if name == "config.json":
                part = json.dumps(claiming(json.loads(part))) + " " * 5_000_000
            out.writestr(name, part)
    with pytest.raises(ValueError, match=r"forged.keras': its config.json is 50\d+ b"):
        TeacherTrajectory.from_files([forged])


@pytest.mark.attack
def test_a_model_file_that_claims_what_it_does_not_hold(tmp_path):
    make_teacher().save(tmp_path / "true.keras")
    forged = tmp_path / "forged.keras"
    with (
        zipfile.ZipFile(tmp_path / "true.keras") as parts,
        zipfile.ZipFile(forged, "w") as out,
    ):
        for name in parts.namelist():
            part = parts.read(name)
            if name == "config.json":
                part = json.dumps(claiming(json.loads(part)))
            out.writestr(name, part)
    for model in (None, make_teacher()):
        with pytest.raises(
            ValueError, match=r"forged.keras': its config claims weights"
        ):
            TeacherTrajectory.from_files([forged], model=model)
        TeacherTrajectory.from_files([tmp_path / "true.keras"], model=model)


@pytest.mark.attack
def test_a_config_that_wants_to_run_code(trajectory, tmp_path):
    code = keras.layers.Lambda(lambda x: x.undefined)
    config = keras.saving.serialize_keras_object(code)
    path = trajectory.folder / "trajectory.json"
    content = json.loads(path.read_text())
    content["model"]["config"]["layers"].append(config)
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"cannot be built from its config.*Pass the"):
        TeacherTrajectory(trajectory.folder).load(0)
    model = keras.Sequential([keras.Input((5,)), code.__class__(lambda x: x)])
    model.save(tmp_path / "code.keras")
    with pytest.raises(ValueError, match=r"code\.keras': .*Pass the model"):
        TeacherTrajectory.from_files([tmp_path / "code.keras"])


@pytest.mark.attack
@pytest.mark.parametrize(
    "name", ["trajectory.json.tmp", "step-00000003.tmp.weights.h5"]
)
def test_links_that_wait_for_a_recorder(tmp_path, name):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    folder = tmp_path / "teacher"
    folder.mkdir()

    class Plant(keras.callbacks.Callback):
        """When the recorder has cleared its folder."""

        def on_train_batch_begin(self, batch, logs=None):
            if batch == 0:
                (folder / name).symlink_to(victim)

    recorder = TrajectoryRecorder(folder)
    train_by_hand(make_teacher(), recorder, Plant(), epochs=1)
    assert victim.read_text() == "mine"
    assert TeacherTrajectory(folder)[0].step == 3
    assert not any(path.is_symlink() for path in folder.iterdir())
