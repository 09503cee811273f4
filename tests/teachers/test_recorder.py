"""What is recorded, against what a plain callback sees of the same training."""

import h5py
import keras
import numpy as np
import pytest
from tiny_teachers import (
    Crash,
    Witness,
    compiled,
    make_data,
    make_teacher,
    same,
    train_by_hand,
)

from keras_kd.teachers import TeacherTrajectory, TrajectoryRecorder

BACKEND = keras.backend.backend()


def fit(model, *callbacks, epochs=3, batches=5, **kwargs):
    x, y = make_data(batches)
    return model.fit(
        x, y, batch_size=4, epochs=epochs, verbose=0, callbacks=[*callbacks], **kwargs
    )


def recorded_weights(folder):
    """Through Keras's own reader, into a model of the same architecture."""
    weights = {}
    for checkpoint in TeacherTrajectory(folder):
        model = make_teacher()
        model.load_weights(checkpoint.file)
        weights[checkpoint.step] = model.get_weights()
    return weights


def test_every_epoch_and_training_is_what_it_was(tmp_path):
    histories, weights = [], []
    for recording in (False, True):
        keras.utils.set_random_seed(7)
        model = compiled(make_teacher())
        witness = Witness()
        recorders = [
            TrajectoryRecorder(tmp_path / "a"),
            TrajectoryRecorder(tmp_path / "b", every=2, unit="step", ema=0.9),
        ]
        history = fit(model, witness, *(recorders if recording else []))
        histories.append(history.history)
        weights.append(model.get_weights())
        # What comes next does not depend on the recording either.
        weights.append(make_teacher().get_weights())
    assert histories[0] == histories[1]
    assert same(weights[0], weights[2])
    assert same(weights[1], weights[3])

    trajectory = TeacherTrajectory(tmp_path / "a")
    assert [(c.step, c.epoch) for c in trajectory] == [(5, 1), (10, 2), (15, 3)]
    assert [c.metrics for c in trajectory] == [
        {name: pytest.approx(float(value)) for name, value in logs.items()}
        for logs in witness.logs
    ]
    for step, recorded in recorded_weights(tmp_path / "a").items():
        assert same(recorded, witness.weights[step])
    assert (trajectory.total_steps, trajectory.steps_per_epoch) == (15, 5)

    # No optimizer, no metrics.
    values = []
    with h5py.File(trajectory[0].file) as file:
        file.visititems(
            lambda name, item: (
                values.append(item) if isinstance(item, h5py.Dataset) else None
            )
        )
    assert len(values) == len(model.weights)


@pytest.mark.parametrize(
    ("spacing", "steps"),
    [
        ({"every": 2}, [10, 15]),
        ({"every": 9}, [15]),
        ({"every": 4, "unit": "step"}, [4, 8, 12, 15]),
        ({"every": 5, "unit": "step"}, [5, 10, 15]),
        ({"unit": "step", "growth": 2}, [1, 2, 4, 8, 15]),
        ({"every": 10, "unit": "step", "growth": 1.1}, [10, 11, 13, 15]),
        ({"unit": "epoch", "growth": 2.0}, [5, 10, 15]),
    ],
)
def test_spacing(tmp_path, spacing, steps):
    model, states = make_teacher(), {}
    recorder = TrajectoryRecorder(tmp_path, **spacing)

    class States(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            states[len(states) + 1] = model.get_weights()

    train_by_hand(model, recorder, States(), epochs=3, steps=5)
    recorded = recorded_weights(tmp_path)
    assert list(recorded) == steps
    # By hand, a batch ends before its weights are noted.
    for step in steps:
        assert same(recorded[step], states[step])
    epochs = [c.epoch for c in TeacherTrajectory(tmp_path)]
    assert epochs == [step // 5 for step in steps]


def test_steps_have_the_metrics_of_the_running_epoch(tmp_path):
    fit(compiled(make_teacher()), TrajectoryRecorder(tmp_path, 2, "step"), epochs=1)
    checkpoints = list(TeacherTrajectory(tmp_path))
    assert [c.step for c in checkpoints] == [2, 4, 5]
    for checkpoint in checkpoints:
        assert checkpoint.metrics.keys() == {"loss", "accuracy"}
        # Of four examples a batch.
        seen = checkpoint.metrics["accuracy"] * 4 * checkpoint.step
        assert seen == pytest.approx(round(seen), abs=1e-4)


def reference_average(states, decay, until, each=1):
    """In float64, by the documented formula, `each` steps at a time."""
    average = [w.astype("float64") for w in states[0]]
    step = 0
    while step < until:
        ran = min(each, until - step)
        d = min(decay, (1 + step) / (10 + step)) ** ran
        step += ran
        average = [
            d * a + (1 - d) * w for a, w in zip(average, states[step], strict=True)
        ]
    return average


def test_average_of_the_weights(tmp_path):
    # Alone, as a witness of each batch would bring JAX's state back for the recorder.
    keras.utils.set_random_seed(5)
    witness = Witness()
    fit(compiled(make_teacher()), witness)
    keras.utils.set_random_seed(5)
    decays = (0.5, 0.99)
    recorders = [
        TrajectoryRecorder(tmp_path / f"{decay}", every=4, unit="step", ema=decay)
        for decay in decays
    ]
    fit(compiled(make_teacher()), *recorders)
    for decay in decays:
        assert TeacherTrajectory(tmp_path / f"{decay}").ema == decay
        recorded = recorded_weights(tmp_path / f"{decay}")
        assert list(recorded) == [4, 8, 12, 15]
        for step, weights in recorded.items():
            expected = reference_average(witness.weights, decay, step)
            for a, b in zip(weights, expected, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
            assert not same(weights, witness.weights[step])


@pytest.mark.skipif(BACKEND == "torch", reason="Keras: no steps_per_execution there")
def test_average_with_steps_per_execution(tmp_path):
    states = {}

    class States(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            states[0] = self.model.get_weights()

        def on_train_batch_end(self, batch, logs=None):
            states[min(batch + 1, 5)] = self.model.get_weights()

    model = compiled(make_teacher(), steps_per_execution=2)
    recorder = TrajectoryRecorder(tmp_path, every=3, unit="step", ema=0.9)
    fit(model, States(), recorder, epochs=1)
    assert sorted(states) == [0, 2, 4, 5]  # five batches: two, two and one
    recorded = recorded_weights(tmp_path)
    assert list(recorded) == [4, 5]
    for step, weights in recorded.items():
        expected = reference_average(states, 0.9, step, each=2)
        for a, b in zip(weights, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_average_of_half_precision_moves_on(tmp_path):
    """Steps too small for float16 add up."""
    model = keras.Sequential(
        [keras.Input((1,)), keras.layers.Dense(1, dtype="float16", use_bias=False)]
    )
    kernel = model.weights[0]
    kernel.assign([[1.0]])
    recorder = TrajectoryRecorder(tmp_path, ema=0.999)
    callbacks = keras.callbacks.CallbackList(
        [recorder], model=model, epochs=1, steps=400
    )
    callbacks.on_train_begin()
    callbacks.on_epoch_begin(0)
    average = 1.0
    for step in range(400):
        callbacks.on_train_batch_begin(step)
        kernel.assign([[1.125]])
        callbacks.on_train_batch_end(step, {})
        d = min(0.999, (1 + step) / (10 + step))
        average = d * average + (1 - d) * 1.125
    callbacks.on_epoch_end(0, {})
    callbacks.on_train_end()
    # Whoever averages in float16 stops short, where a step rounds to nothing.
    value = float(TeacherTrajectory(tmp_path).load(0).get_weights()[0][0, 0])
    assert value == np.float16(average) == 1.125


def test_resuming_after_a_crash_gives_the_same_trajectory(tmp_path):
    def run(name, *callbacks):
        keras.utils.set_random_seed(3)
        model = keras.Sequential(
            [keras.Input((5,)), keras.layers.Dense(4), keras.layers.Dense(3)]
        )
        # One recorder stands before what restores, one after it.
        plain = TrajectoryRecorder(tmp_path / name / "plain")
        averaged = TrajectoryRecorder(tmp_path / name / "averaged", ema=0.9)
        callbacks = (plain, *callbacks, averaged)
        fit(compiled(model), *callbacks, epochs=4, shuffle=False)

    def backup():
        return keras.callbacks.BackupAndRestore(tmp_path / "backup")

    run("whole")
    with pytest.raises(KeyboardInterrupt):
        run("resumed", backup(), Crash(2))
    crashed = TeacherTrajectory(tmp_path / "resumed" / "plain")
    assert [c.epoch for c in crashed] == [1, 2]
    run("resumed", backup())
    for kind in ("plain", "averaged"):
        whole, resumed = (
            TeacherTrajectory(tmp_path / name / kind) for name in ("whole", "resumed")
        )
        assert [c.step for c in resumed] == [5, 10, 15, 20]
        for i in range(4):
            assert same(whole.load(i).get_weights(), resumed.load(i).get_weights())
            assert whole[i].metrics == resumed[i].metrics
            assert whole[i].ema_updates == resumed[i].ema_updates


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_resuming_an_earlier_epoch_truncates(tmp_path):
    model = make_teacher()
    train_by_hand(model, TrajectoryRecorder(tmp_path, 2, "step"), epochs=4)
    assert [c.step for c in TeacherTrajectory(tmp_path)] == [2, 4, 6, 8, 10, 12]
    before = files(tmp_path)
    recorder = TrajectoryRecorder(tmp_path, 2, "step", overwrite=True)
    with pytest.raises(KeyboardInterrupt):
        train_by_hand(model, recorder, Crash(2), epochs=4, initial_epoch=2)
    trajectory = TeacherTrajectory(tmp_path)
    assert [c.step for c in trajectory] == [2, 4, 6]
    assert trajectory.total_steps == 6
    after = files(tmp_path)
    assert len(after) == 4
    assert all(after[n] == before[n] for n in after if n != "trajectory.json")
    # And goes on at the same steps.
    train_by_hand(model, recorder, epochs=4, initial_epoch=2)
    assert [c.step for c in TeacherTrajectory(tmp_path)] == [2, 4, 6, 8, 10, 12]
    assert len(files(tmp_path)) == 7


def test_beginning_at_epoch_0_begins_anew(tmp_path):
    model = make_teacher()
    train_by_hand(model, TrajectoryRecorder(tmp_path), epochs=4)
    # Another spacing, length of epoch and averaging: nothing of before is left.
    recorder = TrajectoryRecorder(tmp_path, ema=0.9, overwrite=True)
    train_by_hand(model, recorder, epochs=2, steps=7)
    trajectory = TeacherTrajectory(tmp_path)
    assert [c.step for c in trajectory] == [7, 14]
    assert (trajectory.ema, trajectory.steps_per_epoch) == (0.9, 7)
    assert len(files(tmp_path)) == 3


def test_continuing_a_finished_training(tmp_path):
    model = make_teacher()
    train_by_hand(model, TrajectoryRecorder(tmp_path, every=2), epochs=3)
    recorder = TrajectoryRecorder(tmp_path, every=2)
    train_by_hand(model, recorder, epochs=5, initial_epoch=3)
    assert [c.epoch for c in TeacherTrajectory(tmp_path)] == [2, 3, 4, 5]


@pytest.mark.wrong_input
def test_resuming_with_other_settings_is_refused(tmp_path):
    model = make_teacher()
    train_by_hand(model, TrajectoryRecorder(tmp_path), epochs=3)
    before = files(tmp_path)
    for recorder, steps, message in (
        (TrajectoryRecorder(tmp_path, ema=0.9), 3, "Received: ema=0.9.*ema=None"),
        (TrajectoryRecorder(tmp_path), 4, "steps_per_epoch=4.*steps_per_epoch=3"),
    ):
        with pytest.raises(ValueError, match=f"must be resumed with the.*{message}"):
            train_by_hand(model, recorder, epochs=3, steps=steps, initial_epoch=1)
    assert files(tmp_path) == before


@pytest.mark.wrong_input
def test_another_models_folder_is_refused(tmp_path):
    folder = tmp_path / "teacher"
    train_by_hand(make_teacher(), TrajectoryRecorder(folder), epochs=1)
    before = files(folder)
    same_shapes = make_teacher()
    same_shapes.get_layer("hidden").activation = keras.activations.relu
    for other in (make_teacher(units=6), same_shapes):
        with pytest.raises(ValueError, match=r"same architecture\. Received"):
            train_by_hand(other, TrajectoryRecorder(folder), epochs=1)
    assert files(folder) == before
    # Layers without a name, and seeds drawn at random, are no other architecture.
    unnamed = tmp_path / "unnamed"
    for _ in range(2):
        model = keras.Sequential(
            [keras.Input((5,)), keras.layers.Dense(4), keras.layers.Dense(3)]
        )
        recorder = TrajectoryRecorder(unnamed, overwrite=True)
        train_by_hand(model, recorder, epochs=1)


def test_an_unreadable_manifest_is_not_overwritten(tmp_path):
    (tmp_path / "trajectory.json").write_text("{")
    with pytest.raises(ValueError, match="is not valid JSON"):
        train_by_hand(make_teacher(), TrajectoryRecorder(tmp_path), epochs=1)
    assert files(tmp_path) == {"trajectory.json": b"{"}


def test_files_of_others_are_left_alone(tmp_path):
    for name in ("notes.txt", "model.weights.h5", "step-1.weights.h5"):
        (tmp_path / name).write_text("mine")
    for name in ("step-00000099.weights.h5", "step-00000003.tmp.weights.h5"):
        (tmp_path / name).write_text("left over by a crash")
    train_by_hand(make_teacher(), TrajectoryRecorder(tmp_path), epochs=1)
    assert sorted(files(tmp_path)) == [
        "model.weights.h5",
        "notes.txt",
        "step-00000003.weights.h5",
        "step-1.weights.h5",
        "trajectory.json",
    ]


def generator(batches):
    x, y = make_data(batches)
    for i in range(batches):
        yield x[4 * i : 4 * i + 4], y[4 * i : 4 * i + 4]


@pytest.mark.wrong_input
def test_a_data_set_of_unknown_length(tmp_path):
    witness = Witness()
    model = compiled(make_teacher())
    recorder = TrajectoryRecorder(tmp_path, 3, "step")
    model.fit(generator(7), verbose=0, callbacks=[witness, recorder])
    trajectory = TeacherTrajectory(tmp_path)
    assert [c.step for c in trajectory] == [3, 6, 7]
    assert (trajectory.steps_per_epoch, trajectory.total_steps) == (7, 7)
    for step, weights in recorded_weights(tmp_path).items():
        assert same(weights, witness.weights[step])
    # Resumed, its epochs are as long as they were; without a former one, who knows?
    model.fit(generator(7), verbose=0, callbacks=[recorder], initial_epoch=1, epochs=2)
    assert [c.step for c in TeacherTrajectory(tmp_path)] == [3, 6, 7, 9, 12, 14]
    recorder = TrajectoryRecorder(tmp_path / "new")
    with pytest.raises(ValueError, match="initial epoch 1 and a data set of unknown"):
        model.fit(
            generator(7), verbose=0, callbacks=[recorder], initial_epoch=1, epochs=2
        )
    assert not (tmp_path / "new").exists()


def test_stopping_in_the_middle_of_an_epoch(tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 1:
                self.model.stop_training = True

    witness = Witness()
    recorder = TrajectoryRecorder(tmp_path, every=5)
    fit(compiled(make_teacher()), witness, Stop(), recorder)
    (checkpoint,) = TeacherTrajectory(tmp_path)
    assert checkpoint.step == 2
    assert same(recorded_weights(tmp_path)[2], witness.weights[2])


def test_nothing_is_written_without_training(tmp_path):
    model = compiled(make_teacher())
    fit(model, TrajectoryRecorder(tmp_path / "new"), epochs=2, initial_epoch=2)
    assert not (tmp_path / "new").exists()


def test_a_diverged_teacher_trains_on_and_is_recorded_as_such(tmp_path):
    model = make_teacher()
    model.get_layer("logits").bias.assign([0.0, np.nan, 0.0])
    recorder = TrajectoryRecorder(tmp_path)
    callbacks = keras.callbacks.CallbackList([recorder], model=model, epochs=2, steps=1)
    callbacks.on_train_begin()
    callbacks.on_epoch_begin(0)
    callbacks.on_train_batch_begin(0)
    callbacks.on_train_batch_end(0, {})
    callbacks.on_epoch_end(0, {"loss": float("nan"), "val_loss": 1.5})
    callbacks.on_train_end()
    (checkpoint,) = TeacherTrajectory(tmp_path)
    assert checkpoint.metrics == {"loss": None, "val_loss": 1.5}
    assert checkpoint.non_finite.endswith("logits/bias")


@pytest.mark.wrong_input
def test_a_model_that_cannot_be_rebuilt(tmp_path):
    class Opaque(keras.Model):
        def __init__(self, layer_maker):
            super().__init__()
            self.inner = layer_maker()

        def call(self, x):
            return self.inner(x)

    model = Opaque(lambda: keras.layers.Dense(3))
    model(make_data()[0])
    with pytest.raises(ValueError, match=r"cannot be rebuilt.*get_config"):
        train_by_hand(model, TrajectoryRecorder(tmp_path / "new"), epochs=1)
    assert not (tmp_path / "new").exists()


@pytest.mark.wrong_input
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"every": 0}, "`every` must be an integer >= 1. Received: every=0"),
        ({"every": 1.5}, "`every` must be an integer >= 1. Received: every=1.5"),
        ({"every": True}, "`every` must be an integer >= 1. Received: every=True"),
        ({"unit": "batch"}, "`unit` must be 'epoch' or 'step'. Received: unit=batch"),
        ({"growth": 1}, "`growth` must be > 1. Received: growth=1"),
        ({"ema": 1.0}, r"`ema` must be in \(0, 1\). Received: ema=1.0"),
        ({"ema": 0}, r"`ema` must be in \(0, 1\). Received: ema=0"),
    ],
)
def test_wrong_arguments(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        TrajectoryRecorder(tmp_path, **arguments)


@pytest.mark.wrong_input
def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"must be a folder\. Received: '.*file'"):
        TrajectoryRecorder(tmp_path / "file")
