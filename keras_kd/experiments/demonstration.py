"""The demo: the same student without a teacher, offline and online."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from keras_kd import datasets
from keras_kd.arguments import check_choice, check_integer
from keras_kd.experiments.names import DemoName, Mode
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

    teacher: str
    student: str
    student_width: float
    epochs: int
    batch_size: int
    learning_rate: float
    temperature: float
    ema: float | None = None
    hold: float = 0.0
    n_train: int | None = None
    n_test: int | None = None


SETTINGS: dict[DemoName, Setting] = {
    "digits": Setting("resnet8", "lenet5", 0.5, 8, 64, 0.1, 4.0),
    "fashion_mnist": Setting(
        "resnet8", "lenet5", 1.0, 8, 64, 0.1, 4.0, n_train=10_000, n_test=10_000
    ),
}


def demo(
    dataset: DemoName = "digits",
    seeds: int = 2,
    folder: str | Path = "runs/demo",
    folder_of_data: str | Path | None = None,
    progress: Callable[[str, int, int], keras.callbacks.Callback] | None = None,
) -> dict[str, list[Run]]:
    """Trains teachers and students, and writes `results.json` and `curves.png`.

    Args:
        dataset: `"digits"` (embedded) or `"fashion_mnist"`.
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
    setting = SETTINGS[dataset]
    data = datasets.load(
        dataset, folder=folder_of_data, n_train=setting.n_train, n_test=setting.n_test
    )
    folder = Path(folder) / dataset
    make_folder(folder)
    shape, classes = data.x_train.shape[1:], data.classes
    common: dict[str, Any] = {
        "epochs": setting.epochs,
        "batch_size": setting.batch_size,
        "learning_rate": setting.learning_rate,
    }
    runs: dict[str, list[Run]] = {mode: [] for mode in ("teacher", *MODES)}
    for seed in range(seeds):

        def watch(
            label: str, seed: int = seed
        ) -> list[keras.callbacks.Callback] | None:
            return [progress(label, seed, setting.epochs)] if progress else None

        trajectory_folder = folder / f"teacher-{seed}"
        teacher = build(setting.teacher, shape, classes, seed=seed)
        runs["teacher"].append(
            train_teacher(
                teacher,
                data,
                trajectory_folder,
                ema=setting.ema,
                overwrite=True,
                seed=seed,
                callbacks=watch("teacher"),
                **common,
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
                    hold=setting.hold,
                    seed=seed,
                    callbacks=watch(mode),
                    **common,
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
