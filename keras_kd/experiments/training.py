"""One run: a teacher that is recorded, or a student by one of the modes."""

import dataclasses
import time
from pathlib import Path
from typing import Literal, get_args

import keras
import numpy as np

from keras_kd.datasets import Batches, Dataset
from keras_kd.distiller.distiller import Distiller
from keras_kd.experiments.studies.snapshot import Snapshot
from keras_kd.losses import SoftTargets
from keras_kd.metrics import top1_agreement
from keras_kd.teachers import (
    OnlineTeacher,
    SupervisionCache,
    TeacherTrajectory,
    TrajectoryRecorder,
)

Mode = Literal["none", "offline", "online", "together"]
MODES: tuple[Mode, ...] = get_args(Mode)


@dataclasses.dataclass(frozen=True)
class Run:
    """What came of one run.

    Attributes:
        mode: `"teacher"` or one of `MODES`.
        accuracy: top-1 accuracy on the test images, in [0, 1].
        fidelity: top-1 agreement with the final teacher on the test images, in
            [0, 1]; `None` without a teacher.
        seconds: wall-clock time of training.
        history: the epoch logs, a list per key.
    """

    mode: str
    accuracy: float
    fidelity: float | None
    seconds: float
    history: dict[str, list[float]]


def optimizer(learning_rate: float, total_steps: int) -> keras.optimizers.Optimizer:
    """SGD with Nesterov momentum, a short warm-up, cosine decay and clipping.

    Args:
        learning_rate: the highest rate, reached after a twentieth of the steps.
        total_steps: batches in all.
    """
    warmup = max(1, total_steps // 20)
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0,
        decay_steps=max(1, total_steps - warmup),
        warmup_target=learning_rate,
        warmup_steps=warmup,
    )
    return keras.optimizers.SGD(
        schedule, momentum=0.9, nesterov=True, global_clipnorm=1.0
    )


def train_teacher(
    teacher: keras.Model,
    dataset: Dataset,
    folder: str | Path,
    *,
    epochs: int,
    batch_size: int = 128,
    learning_rate: float = 0.1,
    every: int = 1,
    ema: float | None = None,
    seed: int = 0,
    callbacks: list[keras.callbacks.Callback] | None = None,
) -> Run:
    """Trains `teacher` on labels, its trajectory recorded in `folder`."""
    recorder = TrajectoryRecorder(folder, every=every, ema=ema)
    return _train(
        "teacher",
        teacher,
        teacher,
        None,
        dataset,
        epochs,
        batch_size,
        learning_rate,
        seed,
        [recorder, *(callbacks or [])],
    )


def cache_supervision(
    trajectory: TeacherTrajectory, dataset: Dataset, folder: str | Path, **kwargs
) -> SupervisionCache:
    """What every checkpoint says of the training and the test images.

    Args:
        trajectory: the teacher's.
        dataset: images and labels.
        folder: where to write.
        **kwargs: as in `SupervisionCache.build`.
    """
    x = np.concatenate([dataset.x_train, dataset.x_test])
    y = np.concatenate([dataset.y_train, dataset.y_test])
    return SupervisionCache.build(trajectory, (x, y), folder, **kwargs)


def distill(
    mode: Mode,
    student: keras.Model,
    dataset: Dataset,
    *,
    trajectory: TeacherTrajectory | None = None,
    cache: SupervisionCache | None = None,
    teacher: keras.Model | None = None,
    temperature: float = 4.0,
    alpha: float = 1.0,
    hold: float = 0.0,
    epochs: int,
    batch_size: int = 128,
    learning_rate: float = 0.1,
    seed: int = 0,
    callbacks: list[keras.callbacks.Callback] | None = None,
) -> Run:
    """Trains `student` by one of `MODES`.

    Args:
        mode: `"none"` learns from the labels alone; `"offline"` from the last
            checkpoint; `"online"` from progressively later ones; `"together"` from a
            teacher that trains in the same run.
        student: a fresh model.
        dataset: images and labels.
        trajectory: the teacher's, for all but `"together"`.
        cache: of that trajectory, to learn from instead of running the teacher.
        teacher: a fresh model to train, for `"together"`.
        temperature: of the soft targets, > 0.
        alpha: weight of the soft targets beside the labels, in [0, 1].
        hold: the share of training, at its end, with the last checkpoint (`"online"`).
        epochs: passes over the training images.
        batch_size: images a step.
        learning_rate: the highest of the schedule.
        seed: of the order of the images.
        callbacks: further Keras callbacks.
    """
    if mode not in MODES:
        raise ValueError(f"`mode` must be one of {list(MODES)}. Received: mode={mode}")
    callbacks = list(callbacks or [])
    if mode == "together":
        if teacher is None:
            raise ValueError("`mode='together'` needs a teacher to train.")
        final = teacher
    elif trajectory is not None:
        final = trajectory.load(-1)
    elif mode == "none":
        final = None
    else:
        raise ValueError(f"`mode={mode!r}` needs a trajectory.")
    if cache is not None and trajectory is not None:
        cache.check_teacher(trajectory)
    model = student
    if mode != "none":
        model = Distiller(
            final if cache is None else cache,
            student,
            SoftTargets(temperature),
            alpha=alpha,
            train_teacher=mode == "together",
        )
    if mode == "online":
        callbacks.append(OnlineTeacher(cache or trajectory, hold=hold))
    return _train(
        mode,
        model,
        student,
        final,
        dataset,
        epochs,
        batch_size,
        learning_rate,
        seed,
        callbacks,
    )


def _train(
    mode,
    model,
    student,
    teacher,
    dataset,
    epochs,
    batch_size,
    learning_rate,
    seed,
    callbacks,
) -> Run:
    batches = Batches(
        dataset.x_train, dataset.y_train, batch_size=batch_size, seed=seed
    )
    history, seconds = fit(
        model,
        batches,
        (dataset.x_test, dataset.y_test),
        epochs=epochs,
        learning_rate=learning_rate,
        callbacks=callbacks,
    )
    accuracy, fidelity = evaluate(student, dataset, teacher)
    return Run(mode, accuracy, fidelity, seconds, history)


def fit(
    model: keras.Model,
    batches: Batches,
    validation: tuple[np.ndarray, np.ndarray] | None,
    *,
    epochs: int,
    learning_rate: float,
    loss: keras.losses.Loss | None = None,
    callbacks: list[keras.callbacks.Callback] | None = None,
    snapshot: Snapshot | None = None,
) -> tuple[dict[str, list[float]], float]:
    """Compiles and trains a model as all studies do.

    Args:
        model: a student, a teacher, or a `Distiller`.
        batches: the training examples, in an order of their own.
        validation: images and labels to look at after each epoch.
        epochs: passes over the batches, in all.
        learning_rate: the highest of the schedule.
        loss: of the labels; `None` for cross-entropy.
        callbacks: further ones.
        snapshot: goes on from there, and writes there after each epoch.

    Returns:
        The epoch logs, a list per key, and the seconds that training took.
    """
    model.compile(
        optimizer=optimizer(learning_rate, epochs * len(batches)),
        loss=loss or keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
    )
    callbacks = [batches.epoch_callback(), *(callbacks or [])]
    begin = 0
    if snapshot is not None:
        begin = snapshot.restore(model)
        callbacks.append(snapshot)
    start = time.perf_counter()
    history = model.fit(
        batches,
        initial_epoch=begin,
        epochs=epochs,
        validation_data=validation,
        validation_batch_size=512,
        shuffle=False,  # the batches have an order of their own
        callbacks=callbacks,
        verbose=0,
    ).history
    if snapshot is not None:
        return snapshot.history, snapshot.seconds
    seconds = time.perf_counter() - start
    return {k: [float(v) for v in values] for k, values in history.items()}, seconds


def evaluate(
    student: keras.Model, dataset: Dataset, teacher: keras.Model | None = None
) -> tuple[float, float | None]:
    """Accuracy on the test images, and agreement with `teacher` if one is given."""
    outputs = student.predict(dataset.x_test, batch_size=512, verbose=0)
    accuracy = float(np.mean(outputs.argmax(-1) == dataset.y_test))
    if teacher is None:
        return accuracy, None
    teacher_outputs = teacher.predict(dataset.x_test, batch_size=512, verbose=0)
    agreement = keras.ops.convert_to_numpy(top1_agreement(teacher_outputs, outputs))
    return accuracy, float(agreement.mean())
