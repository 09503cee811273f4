"""The demo: the same student without a teacher, offline and online."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import keras

from keras_kd import datasets
from keras_kd.arguments import check_choice, check_folder, check_integer
from keras_kd.experiments.names import DemoName, Mode, Network
from keras_kd.experiments.networks import build
from keras_kd.experiments.training import (
    Run,
    cache_supervision,
    distill,
    train_teacher,
)
from keras_kd.files import make_folder, replacing, write_json
from keras_kd.plots import plot_runs
from keras_kd.teachers import TeacherTrajectory

MODES: tuple[Mode, ...] = ("none", "offline", "online")


@dataclasses.dataclass(frozen=True)
class Setting:
    """Sizes of the demo on one data set, such that two cores finish it in minutes."""

    teacher: Network
    teacher_epochs: int
    student: Network
    epochs: int
    temperature: float
    teacher_width: float | None = None
    teacher_batch_size: int = 64
    teacher_learning_rate: float = 0.1
    student_width: float | None = None
    batch_size: int = 64
    learning_rate: float = 0.1
    n_train: int | None = None
    n_test: int | None = None


SETTINGS: dict[DemoName, Setting] = {
    # What online distillation is for: a student that knows nothing of images, of a
    # teacher that all but learns the training images by heart.
    "digits_overlay": Setting(
        teacher="convnet",
        teacher_width=0.5,
        teacher_epochs=20,
        student="mlp",
        epochs=40,
        temperature=1.0,
        batch_size=128,
        learning_rate=0.2,
        n_test=2_000,
    ),
    "fashion_mnist": Setting(
        teacher="resnet8",
        teacher_epochs=8,
        student="lenet5",
        epochs=8,
        temperature=4.0,
        n_train=10_000,
        n_test=10_000,
    ),
}


def demo(
    dataset: DemoName = "digits_overlay",
    seeds: int = 3,
    folder: str | Path = "runs/demo",
    folder_of_data: str | Path | None = None,
    progress: Callable[[str, int, int], keras.callbacks.Callback] | None = None,
) -> dict[str, list[Run]]:
    """Trains teachers and students, and writes `results.json` and `curves.png`.

    Args:
        dataset: `"digits_overlay"` (embedded) or `"fashion_mnist"`.
        seeds: number of repetitions, each with a teacher of its own; the students of
            one seed start from the same weights and see the same batches.
        folder: where to write.
        folder_of_data: where the data set's files are, if not in a usual place.
        progress: makes a callback from a label, the seed and the number of epochs.

    Returns:
        The runs of the teacher and of each mode, a list over seeds each.
    """
    check_choice("dataset", dataset, SETTINGS)
    seeds = check_integer("seeds", seeds, at_least=1)
    folder = check_folder("folder", folder)
    setting = SETTINGS[dataset]
    data = datasets.load(
        dataset, folder=folder_of_data, n_train=setting.n_train, n_test=setting.n_test
    )
    folder = folder / dataset
    make_folder(folder)
    runs: dict[str, list[Run]] = {mode: [] for mode in ("teacher", *MODES)}
    for seed in range(seeds):

        def watch(
            label: str, epochs: int, seed: int = seed
        ) -> list[keras.callbacks.Callback] | None:
            return [progress(label, seed, epochs)] if progress else None

        shape, classes = data.input_shape, data.classes
        teacher = build(
            setting.teacher, shape, classes, seed=seed, width=setting.teacher_width
        )
        trajectory_folder = folder / f"teacher-{seed}"
        runs["teacher"].append(
            train_teacher(
                teacher,
                data,
                trajectory_folder,
                epochs=setting.teacher_epochs,
                batch_size=setting.teacher_batch_size,
                learning_rate=setting.teacher_learning_rate,
                overwrite=True,
                seed=seed,
                callbacks=watch("teacher", setting.teacher_epochs),
            )
        )
        trajectory = TeacherTrajectory(trajectory_folder)
        cache_folder = folder / f"supervision-{seed}"
        # Of the teacher of an earlier demo.
        shutil.rmtree(cache_folder, ignore_errors=True)
        cache = cache_supervision(trajectory, data, cache_folder, progress=False)
        for mode in MODES:
            student = build(
                setting.student, shape, classes, seed=seed, width=setting.student_width
            )
            runs[mode].append(
                distill(
                    mode,
                    student,
                    data,
                    trajectory=trajectory,
                    cache=None if mode == "none" else cache,
                    temperature=setting.temperature,
                    epochs=setting.epochs,
                    batch_size=setting.batch_size,
                    learning_rate=setting.learning_rate,
                    seed=seed,
                    callbacks=watch(mode, setting.epochs),
                )
            )
    write_json(
        folder / "results.json",
        {
            "dataset": dataset,
            "setting": dataclasses.asdict(setting),
            "backend": keras.backend.backend(),
            "runs": {m: [dataclasses.asdict(r) for r in rs] for m, rs in runs.items()},
        },
    )
    with replacing(folder / "curves.png") as part:
        plot_runs(
            {mode: [run.history for run in of_mode] for mode, of_mode in runs.items()},
            part,
            title=f"{dataset}: {setting.student} student",
        )
    return runs
