"""One run: a teacher that is recorded, or a student by one of the modes."""

import dataclasses
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_kd.arguments import (
    check_choice,
    check_fraction,
    check_instance,
    check_integer,
    check_number,
    check_temperature,
)
from keras_kd.datasets import Batches, Dataset
from keras_kd.distiller.distiller import Distiller
from keras_kd.experiments.evaluation import evaluate
from keras_kd.experiments.fitting import fit
from keras_kd.experiments.names import MODES, Mode
from keras_kd.losses import SoftTargets
from keras_kd.teachers import (
    OnlineTeacher,
    SupervisionCache,
    TeacherTrajectory,
    TrajectoryRecorder,
)


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
    overwrite: bool = False,
    seed: int = 0,
    callbacks: list[keras.callbacks.Callback] | None = None,
) -> Run:
    """Trains `teacher` on labels, its trajectory recorded in `folder`."""
    numbers = (epochs, batch_size, learning_rate, seed)
    _check_training("teacher", teacher, dataset, *numbers)
    callbacks = _as_list(callbacks)
    recorder = TrajectoryRecorder(folder, every=every, ema=ema, overwrite=overwrite)
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
        [recorder, *callbacks],
    )


def cache_supervision(
    trajectory: TeacherTrajectory,
    dataset: Dataset,
    folder: str | Path,
    **kwargs: Any,
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
    check_choice("mode", mode, MODES)
    numbers = (epochs, batch_size, learning_rate, seed)
    _check_training("student", student, dataset, *numbers)
    temperature = check_temperature("temperature", temperature)
    alpha = check_fraction("alpha", alpha, zero=True, one=True)
    hold = check_fraction("hold", hold, zero=True, one=True)
    for name, value, kind in (
        ("trajectory", trajectory, TeacherTrajectory),
        ("cache", cache, SupervisionCache),
        ("teacher", teacher, keras.Model),
    ):
        kinds = (kind, type(None))
        check_instance(name, value, kinds, f"None or a `{kind.__name__}`")
    callbacks = _as_list(callbacks)
    if mode == "together":
        if teacher is None:
            raise ValueError("`mode='together'` needs a teacher to train.")
        final = teacher
    elif trajectory is not None:
        final = trajectory.load(-1)
        _check_data(final, dataset)
    elif mode == "none":
        final = None
    else:
        raise ValueError(
            f"`mode={mode!r}` needs a trajectory. Received: trajectory=None"
        )
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
        stages = cache or trajectory
        assert stages is not None
        callbacks.append(OnlineTeacher(stages, hold=hold))
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


def _check_training(
    name: str,
    model: Any,
    dataset: Any,
    epochs: Any,
    batch_size: Any,
    learning_rate: Any,
    seed: Any,
) -> None:
    """Refuses, before anything is written, what no network can be trained with."""
    check_instance(name, model, keras.Model, "a `keras.Model`")
    check_instance("dataset", dataset, Dataset, "a `keras_kd.datasets.Dataset`")
    check_integer("epochs", epochs, at_least=1)
    check_integer("batch_size", batch_size, at_least=1)
    check_number("learning_rate", learning_rate, above=0)
    check_integer("seed", seed, at_least=0)


def _as_list(callbacks: Any) -> list[keras.callbacks.Callback]:
    expected = "a list of `keras.callbacks.Callback`"
    check_instance("callbacks", callbacks, (list, tuple, type(None)), expected)
    return list(callbacks or [])


def _check_data(teacher: keras.Model, dataset: Dataset) -> None:
    """Refuses a teacher that was not made for images and classes like these."""
    for what, wanted, found in (
        ("images of shape", teacher.input_shape[1:], dataset.x_train.shape[1:]),
        ("classes", teacher.output_shape[-1], dataset.classes),
    ):
        is_open = isinstance(wanted, tuple) and None in wanted
        if wanted != found and not is_open:
            raise ValueError(
                "`dataset` must be one like the teacher's. Received: teacher "
                f"'{teacher.name}' for {what} {wanted}, and {what} {found}. Name the "
                "data set that the teacher was trained on (--dataset)."
            )


def _train(
    mode: str,
    model: keras.Model,
    student: keras.Model,
    teacher: keras.Model | None,
    dataset: Dataset,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    callbacks: list[keras.callbacks.Callback],
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
