"""Runs a recipe: each cell once, resumed where it stopped."""

import contextlib
import dataclasses
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np

from keras_kd.backend import enable_op_determinism
from keras_kd.distiller.distiller import Distiller
from keras_kd.experiments.networks import build
from keras_kd.experiments.studies import results
from keras_kd.experiments.studies.images import Images
from keras_kd.experiments.studies.methods import METHODS
from keras_kd.experiments.studies.provenance import provenance
from keras_kd.experiments.studies.recipe import Architecture, Cell, Data, Recipe
from keras_kd.experiments.studies.snapshot import Snapshot
from keras_kd.experiments.studies.teachers import PREDICT_BATCH, Teachers
from keras_kd.experiments.training import fit
from keras_kd.losses import LabelSmoothingCrossentropy, SoftTargets
from keras_kd.ntk import empirical_ntk

WEIGHTS = "student.weights.h5"
# Apart from those of all repetitions.
_OTHER_SEEDS = 10_000


class Watch(Protocol):
    """Who is told how far a run is."""

    def training(self, label: str, epochs: int) -> keras.callbacks.Callback:
        """A training begins; the callback goes along."""

    def finished(self, done: int, cells: int, record: dict[str, Any] | None) -> None:
        """So many of the cells are done, the last with this record."""


def run(
    recipe: Recipe,
    folder: str | Path,
    *,
    data_folder: str | Path | None = None,
    watch: Watch | None = None,
) -> list[dict[str, Any]]:
    """Runs all cells of a recipe that `folder` does not have yet.

    A run that was stopped, at whatever moment, goes on at the epoch where it was, and
    gives the same numbers on the same machine: orders and augmentation are functions of
    seed and epoch, operations are deterministic, and all else is in one file.

    Args:
        recipe: the study.
        folder: for `results.jsonl`, teachers and weights: new, or one of an earlier run
            of the same recipe, which may have had fewer seeds. Of that run,
            `recipe.json` and `results.jsonl` are enough: what else is needed is trained
            again.
        data_folder: where the data set's files are, if not in a usual place.
        watch: is told of the progress.

    Returns:
        The records of all cells; `studies.results` reads them again.

    Raises:
        ValueError: `folder` holds another recipe, and which field differs, or results
            of another backend, whose numbers differ; or there are not that many images.
        BlockingIOError: another process runs it there.
    """
    folder = Path(folder)
    file = folder / results.RESULTS
    # Before anything is written: data may be missing, or smaller than is asked for.
    _check_backend(results.read(file), folder)
    loaded = [Images.load(data, data_folder) for data in recipe.data]
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        _keep_identity(recipe, folder / results.RECIPE)
        records = results.read(file)
        enable_op_determinism()
        if watch is not None:
            watch.finished(*_progress(recipe, records), None)
        for data, images in zip(recipe.data, loaded, strict=True):
            for seed in range(recipe.seeds):
                place = folder / str(data) / f"seed-{seed}"
                one = _Seed(recipe, data, images, seed, place, records, file, watch)
                for student in recipe.students:
                    one.run(student)
    return records


def _rates_left(recipe: Recipe, records, setting: Cell, seed: int) -> list[float]:
    """The rates with which a seed is still to be trained, as far as is known by now."""
    if seed == 0:
        return recipe.rates.left(records, setting.setting)
    rate = recipe.rates.chosen(records, setting.setting)
    done = any(
        r["setting"] == setting.setting
        and r["seed"] == seed
        and r["learning_rate"] == rate
        for r in records
    )
    return [] if rate is None or done else [rate]


def _progress(recipe: Recipe, records) -> tuple[int, int]:
    """How many students are trained, and how many there will be at the end."""
    done = sum(r["method"] != "teacher" for r in records)
    left = 0
    for data in recipe.data:
        for student in recipe.students:
            for setting in recipe.settings(data, student):
                own = [r for r in records if r["setting"] == setting.setting]
                if recipe.rates.chosen(own, setting.setting) is None:
                    # The other seeds will need one rate each.
                    left += len(recipe.rates.left(own, setting.setting))
                    left += recipe.seeds - 1
                    continue
                for seed in range(recipe.seeds):
                    left += len(_rates_left(recipe, own, setting, seed))
    return done, done + left


class _Seed:
    """All that shares the images, the seed and so the teacher."""

    def __init__(
        self,
        recipe: Recipe,
        data: Data,
        images: Images,
        seed: int,
        folder: Path,
        records: list[dict[str, Any]],
        file: Path,
        watch: Watch | None,
    ):
        self.recipe, self.data, self.images, self.seed = recipe, data, images, seed
        self.folder, self.records, self.file, self.watch = folder, records, file, watch
        self.teachers = Teachers(recipe, images, seed, folder, self.watched, self.keep)

    def run(self, student: Architecture) -> None:
        """Trains one architecture by every method."""
        for setting in self.recipe.settings(self.data, student):
            # One after the other: which is next depends on how the last one did.
            while left := _rates_left(self.recipe, self.records, setting, self.seed):
                self._run(
                    dataclasses.replace(setting, learning_rate=left[0], seed=self.seed)
                )

    def watched(self, label: str, epochs: int) -> list[keras.callbacks.Callback]:
        """The callbacks of one training."""
        if self.watch is None:
            return []
        return [self.watch.training(label, epochs)]

    def keep(self, record: dict[str, Any]) -> None:
        """Writes a result, for good; one that is there stays."""
        for held in self.records:
            if held["cell"] == record["cell"]:
                if held["history"] != results.finite(record["history"]):
                    warnings.warn(
                        f"'{record['cell']}' was trained again, since its weights were "
                        "not there, and went otherwise than in the results: by another "
                        "machine, number of threads or version. What is trained from "
                        "now on has a teacher that differs a little.",
                        stacklevel=2,
                    )
                return
        record = {"recipe": self.recipe.name, **record, "versions": provenance()}
        results.append(self.file, record)
        # As it will be read again.
        self.records[:] = results.read(self.file)
        if self.watch is not None:
            self.watch.finished(*_progress(self.recipe, self.records), record)

    def _run(self, cell: Cell) -> None:
        recipe, images, method = self.recipe, self.images, METHODS[cell.method]
        folder = self._folder(cell)
        folder.mkdir(parents=True, exist_ok=True)
        keras.utils.clear_session()
        supervision = self.teachers.supervision(cell, self._itself)
        # A student of its own kind would otherwise begin as its teacher did.
        seed = self.seed + (_OTHER_SEEDS if method.teacher == "itself" else 0)
        student = build(
            cell.student.network,
            images.shape,
            images.classes,
            seed=seed,
            width=cell.student.width,
        )
        model = student
        callbacks = []
        if supervision.teacher is not None:
            assert cell.temperature is not None
            model = Distiller(
                supervision.teacher,
                student,
                SoftTargets(cell.temperature),
                train_teacher=method.supervision == "together",
            )
        if supervision.online is not None:
            callbacks.append(supervision.online)
            if recipe.complexity_images:
                callbacks.append(self.teachers.complexity(cell, supervision))
        loss = None
        if method.label_smoothing:
            loss = LabelSmoothingCrossentropy(method.label_smoothing)
        snapshot = Snapshot(folder / "snapshot.npz")
        history, seconds = fit(
            model,
            images.batches(recipe.batch_size, seed),
            images.validation,
            epochs=recipe.epochs,
            learning_rate=cell.learning_rate,
            loss=loss,
            callbacks=[*callbacks, *self.watched(str(cell), recipe.epochs)],
            snapshot=snapshot,
        )
        part = folder / f"part.{WEIGHTS}"
        student.save_weights(part)
        part.replace(folder / WEIGHTS)
        if any(r["cell"] == str(cell) for r in self.records):
            # It was trained again for its weights alone.
            snapshot.file.unlink(missing_ok=True)
            return
        record = {
            "cell": str(cell),
            "setting": cell.setting,
            "data": str(cell.data),
            "n_train": len(images.dataset.x_train),
            "label_noise": cell.data.label_noise,
            "student": str(cell.student),
            "parameters": student.count_params(),
            "method": cell.method,
            "temperature": cell.temperature,
            "spacing": cell.spacing,
            "learning_rate": cell.learning_rate,
            "seed": self.seed,
            **self._measure(student, supervision),
            "seconds": seconds,
            "history": history,
        }
        self.keep(record)
        snapshot.file.unlink(missing_ok=True)

    def _measure(self, student: keras.Model, supervision) -> dict[str, float | None]:
        dataset, n = self.images.dataset, self.recipe.ntk_images
        measured: dict[str, float | None] = {}
        outputs = _predict(student, dataset.x_test)
        measured["test_accuracy"] = _share(outputs, dataset.y_test)
        measured["validation_accuracy"] = None
        if self.images.validation is not None:
            x, y = self.images.validation
            measured["validation_accuracy"] = _share(_predict(student, x), y)
        measured["fidelity"] = None
        if supervision.test_logits is not None:
            by_teacher = supervision.test_logits().argmax(-1)
            measured["fidelity"] = _share(outputs, by_teacher)
        measured["ntk_similarity"] = None
        if n and supervision.of_recipe:
            kernel = empirical_ntk(student, dataset.x_train[:n])
            measured["ntk_similarity"] = _cosine(kernel, self.teachers.kernel(n))
        return measured

    def _folder(self, cell: Cell) -> Path:
        return self.file.parent / cell.group / f"seed-{cell.seed}"

    def _itself(self, cell: Cell) -> tuple[keras.Model, Path]:
        """The same architecture, trained on the labels, and where it is."""
        setting = Cell(cell.data, cell.student, "none", None, 1, 0.0, self.seed)
        rate = self.recipe.rates.chosen(self.records, setting.setting)
        assert rate is not None  # Labels come first.
        labels = Cell(cell.data, cell.student, "none", None, 1, rate, self.seed)
        folder = self._folder(labels)
        if not (folder / WEIGHTS).exists():
            self._run(labels)
        model = build(
            cell.student.network,
            self.images.shape,
            self.images.classes,
            seed=self.seed,
            width=cell.student.width,
        )
        model.load_weights(folder / WEIGHTS)
        return model, folder


def _predict(model, x) -> np.ndarray:
    return model.predict(x, batch_size=PREDICT_BATCH, verbose=0)


def _share(outputs: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean(outputs.argmax(-1) == labels))


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.vdot(a, b) / np.sqrt(np.vdot(a, a) * np.vdot(b, b)))


def _check_backend(records: list[dict[str, Any]], folder: Path) -> None:
    backend = keras.backend.backend()
    for record in records:
        if record["versions"]["backend"] != backend:
            raise ValueError(
                f"The folder '{folder}' must hold results of the same backend, or "
                f"none. Received: KERAS_BACKEND={backend}, and results of "
                f"{record['versions']['backend']} there."
            )


def _keep_identity(recipe: Recipe, file: Path) -> None:
    # Through JSON, which makes lists of tuples.
    identity = json.loads(json.dumps(recipe.identity))
    if not file.exists():
        part = file.with_suffix(".part")
        part.write_text(json.dumps(identity, indent=1))
        part.replace(file)
        return
    held = json.loads(file.read_text())
    for name in identity.keys() | held.keys():
        if identity.get(name) != held.get(name):
            raise ValueError(
                f"The folder '{file.parent}' must hold the same recipe, or nothing. "
                f"Received: {name}={identity.get(name)}, and {held.get(name)} there."
            )


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    try:
        import fcntl
    except ImportError:  # Windows has no such locks.
        yield
        return
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BlockingIOError(
                f"Another process runs a recipe in '{folder}'."
            ) from None
        yield
