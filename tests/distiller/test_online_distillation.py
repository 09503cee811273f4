"""Online distillation end to end: which checkpoint supervises which step.

The teacher's first logit counts its own steps, so that the loss of every student step
says which checkpoint it was given. A swap one step early or late changes a number.
"""

import keras
import numpy as np
import pytest
from keras import ops

from keras_kd import Distiller, OnlineTeacher, TeacherTrajectory, TrajectoryRecorder

BATCH = 4


def network():
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])


def first_logit(y_true, y_pred):
    return -y_pred[:, 0]


class FirstLogit(keras.distillation.DistillationLoss):
    """The teacher's first logit, and nothing of the student but its gradient."""

    def compute_loss(self, teacher_outputs, student_outputs):
        return ops.mean(teacher_outputs[:, 0]) + 0.0 * ops.mean(student_outputs)


def data(steps):
    return np.zeros((BATCH * steps, 3), "float32")


@pytest.fixture
def trajectory(tmp_path):
    """30 steps, recorded every 7: the first logit of checkpoint i is t_i."""
    teacher = network()
    teacher.layers[0].bias.assign([0.0, 0.0])
    teacher.compile(keras.optimizers.SGD(1.0), first_logit)
    x = data(10)
    teacher.fit(
        x,
        x[:, :1],
        batch_size=BATCH,
        epochs=3,
        callbacks=[TrajectoryRecorder(tmp_path / "teacher", every=7, unit="step")],
        verbose=0,
    )
    assert float(teacher.layers[0].bias.numpy()[0]) == 30.0
    return TeacherTrajectory(tmp_path / "teacher")


class Supervision(keras.callbacks.Callback):
    """The loss of every step, from the running means that Keras logs."""

    def __init__(self):
        super().__init__()
        self.steps, self.total = [], 0.0

    def on_epoch_begin(self, epoch, logs=None):
        self.total, self.batches = 0.0, 0

    def on_train_batch_end(self, batch, logs=None):
        # Keras counts the last execution full, however few batches were left.
        batch = min(batch, self.params["steps"] - 1)
        total = float(logs["distillation_loss"]) * (batch + 1)
        executed = batch + 1 - self.batches
        self.steps += [round((total - self.total) / executed)] * executed
        self.total, self.batches = total, batch + 1


def expected(recorded, total, student_total):
    """The paper's rule, written out: nearest later, scaled by the two totals."""
    return [
        next((s for s in recorded if s * student_total > t * total), recorded[-1])
        for t in range(student_total)
    ]


def supervise(trajectory, epochs, steps, execution=1, callbacks=(), online=None, **fit):
    distiller = Distiller(network(), network(), FirstLogit(), output_kind="categorical")
    distiller.compile(
        keras.optimizers.SGD(0.1), steps_per_execution=execution, run_eagerly=False
    )
    seen = Supervision()
    history = distiller.fit(
        data(steps),
        batch_size=BATCH,
        epochs=epochs,
        callbacks=[seen, *callbacks, online or OnlineTeacher(trajectory)],
        verbose=0,
        **fit,
    )
    return seen.steps, history.history, distiller


@pytest.mark.parametrize(("epochs", "steps"), [(3, 10), (2, 7), (5, 11)])
def test_every_step_has_the_nearest_later_checkpoint(trajectory, epochs, steps):
    recorded = [c.step for c in trajectory]
    assert recorded == [7, 14, 21, 28, 30]
    seen, history, distiller = supervise(trajectory, epochs, steps)
    assert seen == expected(recorded, 30, epochs * steps)
    last = [seen[(e + 1) * steps - 1] for e in range(epochs)]
    assert [recorded[int(i)] for i in history["teacher_checkpoint"]] == last
    # After an online `fit` the teacher holds the last checkpoint used.
    assert float(distiller.teacher.layers[0].bias.numpy()[0]) == seen[-1]


def test_validation_uses_the_checkpoint_of_its_moment(trajectory):
    seen, history, _ = supervise(trajectory, 3, 10, validation_data=(data(1),))
    assert history["val_distillation_loss"] == pytest.approx(
        [seen[9], seen[19], seen[29]]
    )


def test_hold_and_initial_epoch(trajectory):
    recorded = [c.step for c in trajectory]
    online = OnlineTeacher(trajectory, hold=1 / 3)
    seen, _, _ = supervise(trajectory, 3, 10, online=online)
    assert seen == expected(recorded, 30, 20) + [30] * 10
    resumed, _, _ = supervise(trajectory, 3, 10, initial_epoch=1)
    assert resumed == expected(recorded, 30, 30)[10:]


@pytest.mark.skipif(
    keras.backend.backend() == "torch", reason="Keras has it not on PyTorch"
)
def test_steps_per_execution_is_never_early(trajectory):
    recorded = [c.step for c in trajectory]
    seen, _, _ = supervise(trajectory, 3, 10, execution=4)
    rule = expected(recorded, 30, 30)
    by_epoch = [rule[10 * e : 10 * e + 10] for e in range(3)]
    # Each execution has the checkpoint of its first step.
    assert seen == [e[4 * (b // 4)] for e in by_epoch for b in range(10)]


def test_resumed_after_a_crash(trajectory, tmp_path):
    recorded = [c.step for c in trajectory]

    class Crash(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    def backup():
        return keras.callbacks.BackupAndRestore(tmp_path / "backup")

    with pytest.raises(KeyboardInterrupt):
        supervise(trajectory, 3, 10, callbacks=[backup(), Crash()])
    seen, _, _ = supervise(trajectory, 3, 10, callbacks=[backup()])
    assert seen == expected(recorded, 30, 30)[20:]


def test_csv_logger_sees_the_checkpoint(trajectory, tmp_path):
    log = tmp_path / "log.csv"
    supervise(trajectory, 3, 10, callbacks=[keras.callbacks.CSVLogger(log)])
    lines = [line.split(",") for line in log.read_text().splitlines()]
    column = lines[0].index("teacher_checkpoint")
    assert [float(line[column]) for line in lines[1:]] == [1, 2, 4]


def test_students_weights_are_those_of_a_loop_by_hand(trajectory):
    """The same batches with the right teacher each, one `train_on_batch` a time."""
    from keras_kd.losses import SoftTargets

    rng = np.random.default_rng(0)
    x = rng.normal(size=(BATCH * 10, 3)).astype("float32")
    student = network()
    start = student.get_weights()

    def distiller():
        student.set_weights(start)
        model = Distiller(
            network(), student, SoftTargets(2.0), output_kind="categorical"
        )
        model.compile(keras.optimizers.SGD(0.1, momentum=0.9))
        return model

    distiller().fit(
        x,
        batch_size=BATCH,
        epochs=3,
        shuffle=False,
        callbacks=[OnlineTeacher(trajectory)],
        verbose=0,
    )
    online = student.get_weights()
    by_hand = distiller()
    recorded, loaded = [c.step for c in trajectory], None
    for t, step in enumerate(expected(recorded, 30, 30)):
        if step != loaded:
            trajectory.load(recorded.index(step), by_hand.teacher)
            loaded = step
        b = t % 10
        by_hand.train_on_batch(x[b * BATCH : (b + 1) * BATCH])
    for one, other in zip(online, student.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
