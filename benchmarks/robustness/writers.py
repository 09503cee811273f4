"""The four that write as they go: each writes a folder, goes on with one, and is read.

What is compared is all that a user has of it, bit for bit: the seconds that a training
took, and the versions noted beside it, are left out.
"""

import json
import shutil
import traceback

import keras
import numpy as np
from processes import note

import keras_kd
from keras_kd.experiments import RECIPES, run
from keras_kd.ntk import empirical_ntk
from keras_kd.ntk import kernel as kernel_blocks
from keras_kd.teachers.cache import stage_writer

EPOCHS = 24
# Errors show whose they are.
keras.config.disable_traceback_filtering()


def numbers(n=64):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 6)).astype("float32"), rng.integers(0, 4, n)


def network(units=16):
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((6,), name="numbers"),
            keras.layers.Dense(units, activation="relu", name="hidden"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.Dense(4, name="logits"),
        ],
        name="teacher",
    )


def contents(folder, *patterns):
    """Of the files in a folder, by name."""
    found = {p for pattern in patterns for p in folder.glob(pattern) if p.is_file()}
    return {str(p.relative_to(folder)): p.read_bytes() for p in found}


class Recorder:
    """A teacher's training, with `TrajectoryRecorder` and Keras's `BackupAndRestore`.

    Where a kill has left a backup that is torn, what the recorder's page says
    is done: the backup is deleted, and the training goes on from the trajectory. The
    optimizer has no state, so that the numbers are the same.
    """

    name, sign = "recorder", "trajectory.json"
    backup = True

    def write(self, folder, overwrite=False):
        recorded = self._recorded(folder)
        if recorded is not None and recorded.finished and not overwrite:
            return
        backup = folder.with_name(f"{folder.name}.backup")
        callbacks = [keras.callbacks.BackupAndRestore(backup)] if self.backup else []
        try:
            self._fit(network(), folder, callbacks, overwrite=overwrite)
        except Exception as error:
            frames = traceback.extract_tb(error.__traceback__)
            is_kerass = any("backup_and_restore" in f.filename for f in frames)
            if not is_kerass and "left one half" not in str(error):
                raise
            note("Keras's backup was torn, and the way out of the documentation taken")
            shutil.rmtree(backup)
            model, begin = network(), 0
            if (recorded := self._recorded(folder)) is not None:
                recorded.load(-1, model)
                begin = recorded[-1].epoch
            self._fit(model, folder, [], begin)

    def _recorded(self, folder):
        """What there is by now."""
        try:
            return keras_kd.TeacherTrajectory(folder)
        except FileNotFoundError:
            return None
        except ValueError as error:
            if "had just begun" not in str(error):
                raise
            return None

    def _fit(self, model, folder, callbacks, begin=0, overwrite=False):
        model.compile(
            keras.optimizers.SGD(0.05),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        batches = keras_kd.datasets.Batches(*numbers(), batch_size=8)
        recorder = keras_kd.TrajectoryRecorder(folder, overwrite=overwrite)
        model.fit(
            batches,
            epochs=EPOCHS,
            initial_epoch=begin,
            shuffle=False,
            verbose=0,
            callbacks=[recorder, *callbacks, batches.epoch_callback()],
        )

    def read(self, folder):
        return contents(folder, "*")


class Cache:
    """`SupervisionCache.build` of a recorded teacher, which is written every batch."""

    name, sign = "cache", "building.json"

    def __init__(self, teacher):
        self.teacher = teacher

    def write(self, folder, overwrite=False):
        stage_writer._FLUSH_AFTER = -1.0
        keras_kd.SupervisionCache.build(
            keras_kd.TeacherTrajectory(self.teacher),
            numbers(),
            folder,
            batch_size=8,
            progress=False,
            overwrite=overwrite,
        ).verify()

    def read(self, folder):
        return contents(folder, "*")


class Study:
    """`keras_kd.experiments.run`: a teacher, a kernel, and two students."""

    name, sign = "study", "recipe.json"
    settings = {
        "data.n_train": "32",
        "data.n_validation": "16",
        "data.n_test": "32",
        "batch_size": "16",
        "epochs": "3",
        "teacher_epochs": "3",
        "teacher": "lenet5:0.3",
        "students": "lenet5:0.2",
        "methods": "none,online_averaged",
        "learning_rates": "0.05",
        "temperatures": "4",
        "ntk_images": "4",
        "seeds": "1",
    }

    def write(self, folder, overwrite=False):
        run(RECIPES["digits"].with_settings(self.settings), folder)

    def read(self, folder):
        found = contents(folder, "**/*.npy", "**/*.h5", "**/snapshot*", "**/*.tmp*")
        results = folder / "results.jsonl"
        for line in results.read_text().splitlines() if results.exists() else []:
            record = json.loads(line)
            for name in ("seconds", "sha256", "versions"):
                del record[name]
            found[record["cell"]] = json.dumps(record, sort_keys=True).encode()
        return found


class Kernel:
    """`empirical_ntk(out=)`, in 136 blocks."""

    name, sign = "kernel", "kernel.npy.progress.json"

    def write(self, folder, overwrite=False):
        kernel_blocks.block_size = lambda *_: 4
        folder.mkdir(exist_ok=True)
        empirical_ntk(network(), numbers()[0], out=folder / "kernel.npy")

    def read(self, folder):
        return contents(folder, "*.npy")


def difference(found, expected):
    """What the first difference of two readings is, or `None`."""
    for name in sorted(found.keys() | expected.keys()):
        if found.get(name) != expected.get(name):
            how = [
                n
                for n, of in (("more", expected), ("missing", found))
                if name not in of
            ]
            return f"'{name}' is {how[0] if how else 'another'}"
    return None
