"""Repetition: all of a study with one seed, the teachers and their students."""

import dataclasses
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_kd.complexity import kernel_alignment
from keras_kd.distiller.distiller import Distiller
from keras_kd.experiments.evaluation import logits_of, share_right
from keras_kd.experiments.fitting import fit
from keras_kd.experiments.networks import build
from keras_kd.experiments.snapshot import Snapshot
from keras_kd.experiments.studies import results
from keras_kd.experiments.studies.cell import Architecture, Cell, Data
from keras_kd.experiments.studies.images import Images
from keras_kd.experiments.studies.methods import METHODS
from keras_kd.experiments.studies.provenance import provenance
from keras_kd.experiments.studies.recipe import Recipe
from keras_kd.experiments.studies.remaining import rates_left, students_done
from keras_kd.experiments.studies.teachers import Supervision, Teachers
from keras_kd.experiments.studies.watch import Watch
from keras_kd.experiments.studies.weights import load_weights, save_weights
from keras_kd.files import make_folder, remove
from keras_kd.losses import LabelSmoothingCrossentropy, SoftTargets
from keras_kd.ntk import empirical_ntk

WEIGHTS = "student.weights.h5"
# Apart from those of all repetitions.
_OTHER_SEEDS = 10_000


class Repetition:
    """All that shares the images, the seed and so the teacher.

    Args:
        recipe: the study.
        data: one of its data.
        images: of that.
        seed: of weights and order.
        folder: where the teachers are kept.
        records: the results so far, added to.
        file: where results are written.
        watch: is told of the progress.
    """

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
    ) -> None:
        self.recipe, self.data, self.images, self.seed = recipe, data, images, seed
        self.folder, self.records, self.file, self.watch = folder, records, file, watch
        self.teachers = Teachers(recipe, images, seed, folder, self.watched, self.keep)

    def run(self, student: Architecture) -> None:
        """Trains one architecture by every method."""
        for setting in self.recipe.settings(self.data, student):
            # One after the other: which is next depends on how the last one did.
            while left := rates_left(self.recipe, self.records, setting, self.seed):
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
        versions = record.get("versions") or provenance()
        record = {"recipe": self.recipe.name, **record, "versions": versions}
        results.append(self.file, record)
        # As it will be read again.
        self.records[:] = results.read_study(self.file.parent)
        if self.watch is not None:
            self.watch.finished(*students_done(self.recipe, self.records), record)

    def _run(self, cell: Cell) -> None:
        recipe, images, method = self.recipe, self.images, METHODS[cell.method]
        folder = self._folder(cell)
        make_folder(folder)
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
            milestones=recipe.milestones,
            loss=loss,
            callbacks=[*callbacks, *self.watched(str(cell), recipe.epochs)],
            snapshot=snapshot,
        )
        # These first, then the record, then the end of the snapshot: whatever ends the
        # run, a record has its weights, or there is a snapshot to go on from.
        save_weights(student, folder / WEIGHTS)
        if any(r["cell"] == str(cell) for r in self.records):
            # It was trained again for its weights alone.
            remove(snapshot.file)
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
        remove(snapshot.file)

    def _measure(
        self, student: keras.Model, supervision: Supervision
    ) -> dict[str, float | bool | None]:
        dataset, n = self.images.dataset, self.recipe.ntk_images
        measured: dict[str, float | bool | None] = {}
        outputs = logits_of(student, dataset.x_test)
        measured["test_accuracy"] = share_right(outputs, dataset.y_test)
        measured["validation_accuracy"] = None
        if self.images.validation is not None:
            x, y = self.images.validation
            measured["validation_accuracy"] = share_right(logits_of(student, x), y)
        measured["fidelity"] = None
        if supervision.test_logits is not None:
            by_teacher = supervision.test_logits().argmax(-1)
            measured["fidelity"] = share_right(outputs, by_teacher)
        measured["ntk_similarity"] = None
        if _diverged(student, outputs):
            # There is no kernel of it.
            measured["diverged"] = True
        elif n and supervision.of_recipe:
            kernel = empirical_ntk(student, dataset.x_train[:n])
            # One that overflows is that of a student that diverged: no similarity.
            if np.isfinite(kernel).all():
                measured["ntk_similarity"] = kernel_alignment(
                    kernel, self.teachers.kernel(n), center=False
                )
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
        load_weights(model, folder / WEIGHTS)
        return model, folder


def _diverged(student: keras.Model, outputs: np.ndarray) -> bool:
    """Whether weights or outputs are beyond all numbers."""
    arrays = [outputs, *student.get_weights()]
    return not all(np.isfinite(array).all() for array in arrays)
