"""Reading a trajectory back, and refusing one that is broken."""

import json
import shutil

import keras
import numpy as np
import pytest
from tiny_teachers import compiled, make_data, make_teacher, same, train_by_hand

from keras_kd.teachers import TeacherTrajectory, TrajectoryRecorder


@keras.saving.register_keras_serializable(package="tests")
class Subclassed(keras.Model):
    """As KerasHub writes models: layers as attributes, automatic names."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.blocks = [keras.layers.Dense(units), keras.layers.Dense(units)]
        self.norm = keras.layers.BatchNormalization()
        self.head = keras.layers.Dense(3)

    def call(self, inputs, training=False):
        for block in self.blocks:
            inputs = keras.ops.relu(block(inputs))
        return self.head(self.norm(inputs, training=training))

    def get_config(self):
        return {**super().get_config(), "units": self.units}


def record(folder, model):
    train_by_hand(model, TrajectoryRecorder(folder), epochs=2)
    return TeacherTrajectory(folder)


def test_is_a_sequence(trajectory):
    assert len(trajectory) == 5
    assert [c.step for c in trajectory] == [3, 6, 9, 12, 15]
    assert [c.index for c in trajectory] == [0, 1, 2, 3, 4]
    assert trajectory[-1] == trajectory[4]
    assert trajectory[np.int64(1)].epoch == 2
    assert trajectory.total_steps == 15
    assert trajectory.steps_per_epoch == 3
    assert trajectory.ema is None
    assert "5 checkpoints, 15 steps" in repr(trajectory)
    for index in (5, -6):
        with pytest.raises(IndexError, match=rf"in \[-5, 5\).*Received: index={index}"):
            trajectory[index]
    with pytest.raises(AttributeError):  # frozen
        trajectory[0].step = 7


def test_loads_in_place_and_anew(trajectory):
    # The oracle is Keras's own reader, in a model of our own making.
    for index in (0, 3, -1, 0):
        plain = make_teacher()
        plain.load_weights(trajectory[index].file)
        model = make_teacher()
        assert trajectory.load(index, model) is model
        assert same(model.get_weights(), plain.get_weights())
        assert same(trajectory.load(index).get_weights(), plain.get_weights())
    x, _ = make_data()
    np.testing.assert_array_equal(
        model.predict(x, verbose=0), plain.predict(x, verbose=0)
    )


def test_a_load_changes_the_weights_and_nothing_else(trajectory):
    x, y = make_data()
    model = compiled(make_teacher())
    model.fit(x, y, verbose=0)
    model.get_layer("hidden").trainable = False
    weights = {id(v) for v in model.weights}
    others = [v for v in model.variables if id(v) not in weights]
    others += [*model.optimizer.variables, *model.metrics_variables]
    before = [keras.ops.convert_to_numpy(v).copy() for v in others]
    trajectory.load(2, model)
    assert same(before, [keras.ops.convert_to_numpy(v) for v in others])
    assert [layer.trainable for layer in model.layers] == [False, True, True, True]


def test_a_subclassed_model(tmp_path):
    x, _ = make_data()
    model = Subclassed(6)
    model(x)
    trajectory = record(tmp_path, model)
    # Another instance in the same process, whose layers are numbered on.
    other = Subclassed(6)
    other(x)
    trajectory.load(-1, other)
    assert same(other.get_weights(), trajectory.load(-1).get_weights())


def test_a_model_of_unregistered_parts(tmp_path):
    class Local(keras.layers.Layer):
        def build(self, shape):
            self.w = self.add_weight(shape=(shape[-1],), name="w")

        def call(self, x):
            return x * self.w

    def build():
        inputs = keras.Input((5,))
        inner = keras.Sequential([keras.Input((5,)), Local(), keras.layers.Dense(4)])
        return keras.Model(inputs, keras.layers.Dense(3)(inner(inputs)))

    model = build()
    trajectory = record(tmp_path, model)
    other = build()
    trajectory.load(-1, other)
    assert same(other.get_weights(), model.get_weights())
    with pytest.raises(ValueError, match=r"config: Could not locate class 'Local'"):
        trajectory.load(-1)
    with keras.saving.custom_object_scope({"Local": Local}):
        for _ in range(2):
            assert same(trajectory.load(-1).get_weights(), model.get_weights())


def test_half_precision_and_integer_weights(tmp_path):
    def build():
        model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
        bfloat = keras.layers.Dense(3, dtype="bfloat16")
        counter = keras.layers.Normalization(mean=0.0, variance=1.0)
        model.add(counter)
        model.add(bfloat)
        return model

    model = build()
    trajectory = record(tmp_path, model)
    assert trajectory.load(-1, build()).weights[-1].dtype == "bfloat16"
    other = trajectory.load(-1, build())
    for a, b in zip(model.weights, other.weights, strict=True):
        a, b = (keras.ops.convert_to_numpy(v).astype("float64") for v in (a, b))
        np.testing.assert_array_equal(a, b)


# What is broken, and what the one error says.


@pytest.mark.wrong_input
def test_no_trajectory(tmp_path):
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(FileNotFoundError, match=r"trajectory.*json is missing"):
            TeacherTrajectory(folder)
    (tmp_path / "file").write_text("")
    with pytest.raises(FileNotFoundError, match="no teacher trajectory"):
        TeacherTrajectory(tmp_path / "file")


BROKEN_MANIFESTS = {
    "it is not valid JSON": lambda text: text[: len(text) // 2],
    "it does not say 'format'": lambda text: '{"checkpoints": []}',
    "it has version 99": lambda text: text.replace('"version": 1', '"version": 99'),
    "the entry 'sha256' is missing": lambda text: text.replace("sha256", "sha"),
    "its steps do not increase": lambda text: text.replace('"step": 9', '"step": 6'),
    "lies after its 9 steps": lambda text: text.replace(
        '"total_steps": 15', '"total_steps": 9'
    ),
    "`step` must be an integer > 0. Received: step='nine'": lambda text: text.replace(
        '"step": 9', '"step": "nine"'
    ),
    "utf-8": lambda text: b"\xff\xfe\x00",
}


@pytest.mark.attack
@pytest.mark.parametrize("reason", BROKEN_MANIFESTS)
def test_an_unreadable_manifest(trajectory, reason):
    path = trajectory.folder / "trajectory.json"
    broken = BROKEN_MANIFESTS[reason](path.read_text())
    path.write_bytes(broken if isinstance(broken, bytes) else broken.encode())
    with pytest.raises(
        ValueError, match=rf"trajectory\.json cannot be read: .*{reason}"
    ):
        TeacherTrajectory(trajectory.folder)


@pytest.mark.attack
def test_a_manifest_names_files_of_its_folder_only(trajectory, tmp_path):
    path = trajectory.folder / "trajectory.json"
    content = json.loads(path.read_text())
    shutil.move(trajectory[0].file, tmp_path / "outside.weights.h5")
    content["checkpoints"][0]["file"] = "../outside.weights.h5"
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"no name .* gives, but '\.\./out"):
        TeacherTrajectory(trajectory.folder)


@pytest.mark.wrong_input
def test_an_empty_trajectory(trajectory):
    path = trajectory.folder / "trajectory.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "checkpoints": []}))
    with pytest.raises(ValueError, match=r"at least one checkpoint. Received: an"):
        TeacherTrajectory(trajectory.folder)


def remove(file):
    file.unlink()


def truncate(file):
    file.write_bytes(file.read_bytes()[:-100])


def lengthen(file):
    file.write_bytes(file.read_bytes() + b"x")


def alter(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def exchange(file):
    next_file = sorted(file.parent.glob("*.h5"))[2]
    file.write_bytes(next_file.read_bytes())


@pytest.mark.damage
@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (remove, "is missing"),
        (truncate, r"it was truncated: it has \d+ of \d+ bytes"),
        (lengthen, r"it was altered: it has \d+ of \d+ bytes"),
        (alter, "it was altered: its SHA-256 is"),
        (exchange, "it was altered: its SHA-256 is"),
    ],
)
def test_a_damaged_file(trajectory, damage, reason):
    file = trajectory[1].file
    damage(file)
    model = make_teacher()
    before = model.get_weights()
    for target in (model, None):
        with pytest.raises((ValueError, FileNotFoundError)) as raised:
            trajectory.load(1, target)
        assert raised.match(rf"Checkpoint 1 .*{file.name}.*{reason}")
    assert same(before, model.get_weights())
    trajectory.load(0, model)  # the others are as good as before
    assert not same(before, model.get_weights())


@pytest.mark.damage
def test_a_file_of_another_model_under_the_right_checksum(trajectory, tmp_path):
    other = record(tmp_path / "other", make_teacher(units=7))
    for name in ("size", "sha256"):
        path = trajectory.folder / "trajectory.json"
        content = json.loads(path.read_text())
        content["checkpoints"][1][name] = getattr(other[0], name)
        path.write_text(json.dumps(content))
    shutil.copy(other[0].file, trajectory[1].file)
    model = make_teacher()
    before = model.get_weights()
    trajectory = TeacherTrajectory(trajectory.folder)
    with pytest.raises(ValueError, match=r"Checkpoint 1 .*not one of model 'teacher'"):
        trajectory.load(1, model)
    assert same(before, model.get_weights())


@pytest.mark.wrong_input
def test_a_model_that_does_not_fit(trajectory):
    renamed = keras.Sequential(
        [keras.Input((5,)), keras.layers.Dense(4, name="another")]
    )
    half = keras.Sequential(
        [keras.Input((5,)), keras.layers.Dense(4, name="hidden", dtype="float16")]
    )
    short = keras.Sequential([keras.Input((5,)), *make_teacher().layers[:2]])
    for model, reason in (
        (make_teacher(units=7), r"'.*hidden/kernel', shape \(5, 4\).*shape \(5, 7\)"),
        (make_teacher(classes=4), r"'.*logits/kernel', shape \(4, 3\).*shape \(4, 4\)"),
        (renamed, "'.*hidden/kernel'.*'.*another/kernel'"),
        (half, "float32, and is .*float16"),
        (short, "8 variables.*the model has 6"),
    ):
        before = model.get_weights()
        with pytest.raises(ValueError, match=f"same architecture.*{reason}"):
            trajectory.load(0, model)
        with pytest.raises(ValueError, match=f"same architecture.*{reason}"):
            trajectory.check(model)
        assert same(before, model.get_weights())


@pytest.mark.wrong_input
def test_weights_that_are_not_finite(tmp_path):
    model = make_teacher()
    model.get_layer("norm").moving_mean.assign([0.0, np.inf, 0.0, 0.0])
    trajectory = record(tmp_path, model)
    for load in (trajectory.check, lambda model: trajectory.load(0, model)):
        with pytest.raises(
            ValueError, match=r"step-0.*NaN or infinite values in '.*norm/moving_mean'"
        ):
            load(make_teacher())
