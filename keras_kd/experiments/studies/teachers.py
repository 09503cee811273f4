"""Who teaches the students of one seed: trained once, its predictions held."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_kd.callbacks import SupervisionComplexity
from keras_kd.distiller.distiller import Distiller
from keras_kd.experiments.evaluation import logits_of, share_right
from keras_kd.experiments.fitting import fit
from keras_kd.experiments.networks import build
from keras_kd.experiments.snapshot import Snapshot
from keras_kd.experiments.studies.cell import Architecture, Cell
from keras_kd.experiments.studies.images import Images
from keras_kd.experiments.studies.methods import METHODS
from keras_kd.experiments.studies.pacing import checkpoint_of_epochs
from keras_kd.experiments.studies.provenance import provenance
from keras_kd.experiments.studies.recipe import Recipe
from keras_kd.experiments.studies.results import finite
from keras_kd.experiments.studies.seals import (
    check_sealed,
    damaged,
    read_record,
    write_record,
    write_sealed,
)
from keras_kd.experiments.studies.weights import load_weights, save_weights
from keras_kd.files import make_folder, remove, write_array
from keras_kd.losses import SoftTargets
from keras_kd.ntk import empirical_ntk
from keras_kd.teachers import (
    OnlineTeacher,
    SupervisionCache,
    TeacherTrajectory,
    TrajectoryRecorder,
)
from keras_kd.teachers.schedules import PhaseTransition


class Supervision(NamedTuple):
    """What a student learns from.

    Attributes:
        teacher: for the `Distiller`; `None` for labels alone.
        online: the callback that goes through the checkpoints, if one does.
        test_logits: gives what the final teacher says of the test images; `None` where
            there is none, or it is trained with the student.
        of_recipe: whether the final teacher is the recipe's.
    """

    teacher: Any
    online: OnlineTeacher | None
    test_logits: Callable[[], np.ndarray] | None
    of_recipe: bool


class Teachers:
    """The teachers of one data set and seed, each made when it is first asked for.

    Args:
        recipe: the study.
        images: of it.
        seed: of weights and order.
        folder: where they are kept.
        watched: gives the callbacks of a training, from its label and epochs.
        keep: takes the record of the teacher's own training.
    """

    def __init__(
        self,
        recipe: Recipe,
        images: Images,
        seed: int,
        folder: Path,
        watched: Callable[[str, int], list[keras.callbacks.Callback]],
        keep: Callable[[dict[str, Any]], None],
    ) -> None:
        self.recipe, self.images, self.seed, self.folder = recipe, images, seed, folder
        self._watched, self._keep = watched, keep

    def recall(self) -> None:
        """Has the teacher's record kept, where the results have lost it."""
        file = self.folder / "teacher" / "run.json"
        if file.exists():
            self._keep(read_record(file, "Delete it: the teacher is trained again."))

    def supervision(
        self, cell: Cell, itself: Callable[[Cell], tuple[keras.Model, Path]]
    ) -> Supervision:
        """What the student of a cell learns from.

        Args:
            cell: which.
            itself: gives the same architecture, trained on the labels, and its folder.
        """
        method = METHODS[cell.method]
        if method.supervision == "labels":
            # Their agreement with the teacher is of interest all the same.
            return Supervision(None, None, self._final_test_logits, True)
        if method.supervision == "together":
            return Supervision(self._build(self.recipe.teacher), None, None, False)
        if method.teacher == "itself":
            model, folder = itself(cell)
            return self._of_model(model, folder)
        if method.teacher == "assistant":
            assert cell.temperature is not None
            return self._of_model(*self._assistant(cell.temperature))
        self._train()
        name = "averaged" if method.averaged else "trajectory"
        trajectory = TeacherTrajectory(self.folder / "teacher" / name)
        source: Any = trajectory
        if not self.images.crop_and_flip:
            source = self._cache(trajectory, self.folder / f"supervision-{name}")

        def logits() -> np.ndarray:
            return self._test_logits(name)

        if method.online:
            schedule: Any = PhaseTransition()
            if not method.transition:
                schedule = checkpoint_of_epochs(
                    len(trajectory), self.recipe.epochs, cell.spacing, method.anchors
                )
            online = OnlineTeacher(source, schedule, hold=method.hold)
            return Supervision(
                source if source is not trajectory else trajectory.load(-1),
                online,
                logits,
                True,
            )
        index = round(method.stop * len(trajectory)) - 1
        index = max(index, 0)
        if source is trajectory:
            teacher: Any = trajectory.load(index)
        else:
            teacher = source.stage(index)
        return Supervision(teacher, None, logits, True)

    def complexity(self, cell: Cell, supervision: Supervision) -> SupervisionComplexity:
        """Measures labels, offline, online and average teacher at each epoch."""
        dataset, n = self.images.dataset, self.recipe.complexity_images
        x, online = dataset.x_train[:n], supervision.online
        assert online is not None
        assert cell.temperature is not None
        name = "averaged" if METHODS[cell.method].averaged else "trajectory"
        trajectory = TeacherTrajectory(self.folder / "teacher" / name)
        source = supervision.teacher
        last: Any = trajectory.load(-1)
        now: Any = "teacher"
        if isinstance(source, SupervisionCache):
            last = source.predict(x)

            def now(x: np.ndarray) -> np.ndarray:
                said: np.ndarray = source.predict(x, online.checkpoint or 0)
                return said

        return SupervisionComplexity(
            x,
            {
                "labels": dataset.y_train[:n],
                "offline": last,
                "online": now,
                "average": trajectory,
            },
            temperature=cell.temperature,
        )

    def kernel(self, n: int) -> np.ndarray:
        """The final teacher's NTK on the first `n` training images."""
        file = self.folder / f"teacher-ntk-{n}.npy"
        if not file.exists():
            teacher = TeacherTrajectory(self.folder / "teacher" / "trajectory").load(-1)
            kernel = empirical_ntk(teacher, self.images.dataset.x_train[:n])
            write_sealed(file, lambda: write_array(file, kernel))
        return _read_array(file)

    def _build(self, architecture: Architecture) -> keras.Model:
        return build(
            architecture.network,
            self.images.shape,
            self.images.classes,
            seed=self.seed,
            width=architecture.width,
        )

    def _train(self) -> None:
        folder, recipe, dataset = (
            self.folder / "teacher",
            self.recipe,
            self.images.dataset,
        )
        if (folder / "run.json").exists():
            return
        make_folder(folder)
        teacher = self._build(recipe.teacher)
        # Without a record, what is there is this training's, interrupted.
        recorders = [TrajectoryRecorder(folder / "trajectory", overwrite=True)]
        if any(METHODS[name].averaged for name in recipe.methods):
            recorders.append(
                TrajectoryRecorder(folder / "averaged", ema=recipe.ema, overwrite=True)
            )
        label = f"teacher {recipe.teacher}, seed {self.seed}"
        snapshot = Snapshot(folder / "snapshot.npz")
        history, seconds = fit(
            teacher,
            self.images.batches(recipe.batch_size, self.seed),
            self.images.validation,
            epochs=recipe.teacher_epochs,
            learning_rate=recipe.teacher_learning_rate,
            milestones=recipe.milestones,
            callbacks=[*recorders, *self._watched(label, recipe.teacher_epochs)],
            snapshot=snapshot,
        )
        logits = self._test_logits()
        record = {
            "cell": f"{self.folder.parent.name}/teacher/seed-{self.seed}",
            "setting": f"{self.folder.parent.name}/teacher",
            "data": self.folder.parent.name,
            "student": str(recipe.teacher),
            "parameters": teacher.count_params(),
            "method": "teacher",
            "learning_rate": recipe.teacher_learning_rate,
            "seed": self.seed,
            "test_accuracy": share_right(logits, dataset.y_test),
            "seconds": seconds,
            "history": history,
        }
        record = finite({**record, "versions": provenance()})
        self._keep(record)
        write_record(folder / "run.json", record)
        remove(snapshot.file)

    def _final_test_logits(self) -> np.ndarray:
        self._train()
        return self._test_logits()

    def _test_logits(self, name: str = "trajectory") -> np.ndarray:
        file = self.folder / f"test-logits-{name}.npy"
        if not file.exists():
            final = TeacherTrajectory(self.folder / "teacher" / name).load(-1)
            logits = logits_of(final, self.images.dataset.x_test)
            write_sealed(file, lambda: write_array(file, logits))
        return _read_array(file)

    def _cache(
        self, teacher: keras.Model | TeacherTrajectory, folder: Path
    ) -> SupervisionCache:
        return SupervisionCache.build(
            teacher, self.images.looked_at(), folder, progress=False
        )

    def _of_model(self, model: keras.Model, folder: Path) -> Supervision:
        teacher: Any = model
        if not self.images.crop_and_flip:
            teacher = self._cache(model, folder / "supervision")
        return Supervision(
            teacher, None, lambda: logits_of(model, self.images.dataset.x_test), False
        )

    def _assistant(self, temperature: float) -> tuple[keras.Model, Path]:
        recipe = self.recipe
        assert recipe.assistant is not None
        folder = self.folder / f"assistant-T{temperature:g}"
        file = folder / "assistant.weights.h5"
        model = self._build(recipe.assistant)
        if not file.exists():
            make_folder(folder)
            self._train()
            trajectory = TeacherTrajectory(self.folder / "teacher" / "trajectory")
            source: Any = trajectory.load(-1)
            if not self.images.crop_and_flip:
                source = self._cache(trajectory, self.folder / "supervision-trajectory")
            label = f"assistant {recipe.assistant}, seed {self.seed}"
            snapshot = Snapshot(folder / "snapshot.npz")
            fit(
                Distiller(source, model, SoftTargets(temperature)),
                self.images.batches(recipe.batch_size, self.seed),
                self.images.validation,
                epochs=recipe.epochs,
                learning_rate=recipe.teacher_learning_rate,
                milestones=recipe.milestones,
                callbacks=self._watched(label, recipe.epochs),
                snapshot=snapshot,
            )
            save_weights(model, file)
            remove(snapshot.file)
        load_weights(model, file)
        return model, folder


def _read_array(file: Path) -> np.ndarray:
    way_out = "Delete it: it is made anew."
    check_sealed(file, way_out)
    try:
        array: np.ndarray = np.load(file)
    except (ValueError, EOFError, OSError) as error:
        raise damaged(file, str(error) or "it is empty", way_out) from error
    return array
