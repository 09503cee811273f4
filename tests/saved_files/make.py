"""Wrote the files of `version_0_1`, with keras_kd 0.1.0 as it was at commit 0a0396f
and Keras 3.12, the lowest: what it writes, every later one reads.

Kept to show how they came about: `KERAS_BACKEND=torch python make.py FOLDER` with the
code of today makes those of today.
"""

import contextlib
import os
import sys
from pathlib import Path

import keras
import numpy as np

import keras_kd
from keras_kd import losses
from keras_kd.complexity import compare_teachers
from keras_kd.experiments import RECIPES, run
from keras_kd.ntk import empirical_ntk
from keras_kd.ntk.block_file import BlockFile
from keras_kd.teachers import mean


class Stopped(Exception):
    """What was begun is to be left as it is."""


def examples():
    rng = np.random.default_rng(0)
    return rng.normal(size=(24, 5)).astype("float32"), rng.integers(0, 3, 24)


def network(units, classes=3, name=None):
    return keras.Sequential(
        [
            keras.Input((5,)),
            keras.layers.Dense(units, activation="relu", name="hidden"),
            keras.layers.Dense(classes, name="logits"),
        ],
        name=name,
    )


def compiled(model, **kwargs):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss, **kwargs)
    return model


def every_loss():
    return {
        "soft": losses.SoftTargets(2.0, "cross_entropy"),
        "raw": losses.LogitMSE(),
        "hint": losses.FeatureHint("hidden", "hidden"),
        "decoupled": losses.DecoupledKD(beta=2.0),
        "dist": losses.DIST(),
        "relational": losses.RelationalKD(1.0, 2.0, "hidden", "hidden"),
        "attention": losses.AttentionTransfer("conv", "conv", p=1),
    }


def images_network(filters):
    return keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            keras.layers.Conv2D(filters, 3, name="conv"),
            keras.layers.Flatten(),
            keras.layers.Dense(4, name="hidden"),
            keras.layers.Dense(3, name="logits"),
        ]
    )


def make(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    # The caches' folders are written into files as they are given.
    os.chdir(folder)
    keras.utils.set_random_seed(0)
    x, y = examples()
    expected = {}

    recorder = keras_kd.TrajectoryRecorder("trajectory")
    teacher = compiled(network(6, name="teacher"), metrics=["accuracy"])
    teacher.fit(x, y, epochs=2, batch_size=8, verbose=0, callbacks=[recorder])
    trajectory = keras_kd.TeacherTrajectory("trajectory")
    for i in range(len(trajectory)):
        model = trajectory.load(i)
        expected[f"trajectory-{i}"] = model.predict(x, verbose=0)

    build = keras_kd.SupervisionCache.build
    cache = build(trajectory, (x, y), "cache", taps=["hidden"], progress=False)
    expected["cache"] = cache.predict(x, 0)
    cut = build(teacher, x, "cache-top-k", dtype="float32", top_k=2, progress=False)
    expected["cache-top-k"] = cut.predict(x)
    unit = network(4, classes=1, name="unit")
    one = build(unit, (x, y > 1), "cache-one-unit", progress=False)
    expected["cache-one-unit"] = one.predict(x)

    passes = iter(range(2))

    class Data(keras.utils.PyDataset):
        def __len__(self):
            return 3

        def __getitem__(self, i):
            if i == 2 and next(passes, None) is None:
                raise Stopped
            return x[8 * i : 8 * i + 8], y[8 * i : 8 * i + 8]

    with contextlib.suppress(Stopped):
        build(trajectory, Data(), "cache-begun", progress=False)

    pixels = np.random.default_rng(1).normal(size=(24, 6, 6, 1)).astype("float32")
    np.savez("pixels.npz", pixels=pixels)
    distiller = keras_kd.Distiller(
        images_network(4), images_network(2), every_loss(), alpha=0.5
    )
    compiled(distiller).fit(pixels, y, epochs=1, batch_size=8, verbose=0)
    distiller.save("distiller.keras")
    distiller.save_weights("distiller.weights.h5")
    expected["distiller"] = distiller.predict(pixels, verbose=0)
    expected["distiller-loss"] = distiller.evaluate(pixels, y, verbose=0)[0]

    for name, source in (
        ("cache", cache),
        ("cached-mean", cache.mean(of="probabilities")),
        ("mean", mean([teacher, network(3)], of="probabilities")),
    ):
        student = keras_kd.Distiller(source, network(2))
        compiled(student).fit(x, y, epochs=1, batch_size=8, verbose=0)
        student.save(f"distiller-of-{name}.keras")
        expected[f"distiller-of-{name}"] = student.predict(x, verbose=0)

    report = compare_teachers(network(4), trajectory, x, y, (1, 4))
    report.to_json("report.json")

    # Stopped after the first of its blocks.
    left_over = iter(range(1))
    write = BlockFile.write

    def first_only(self, i, j, block):
        if next(left_over, None) is None:
            raise Stopped
        write(self, i, j, block)

    from keras_kd.ntk import kernel

    BlockFile.write, size = first_only, kernel.block_size
    kernel.block_size = lambda *args: 16
    model = network(3)
    model.save("kernel.keras")
    with contextlib.suppress(Stopped):
        empirical_ntk(model, x, out="kernel.npy")
    BlockFile.write, kernel.block_size = write, size
    expected["kernel"] = empirical_ntk(model, x)

    settings = {
        "data.n_train": "32",
        "data.n_validation": "16",
        "data.n_test": "32",
        "batch_size": "16",
        "epochs": "2",
        "teacher_epochs": "2",
        "teacher": "lenet5:0.1",
        "students": "lenet5:0.1",
        "methods": "none,offline",
        "learning_rates": "0.05",
        "temperatures": "4",
        "ntk_images": "8",
        "seeds": "1",
    }

    class Watch:
        done = 0

        def training(self, label, epochs):
            watch = self

            class Stop(keras.callbacks.Callback):
                def on_epoch_begin(self, epoch, logs=None):
                    if watch.done == 2 and epoch == 1:
                        raise Stopped

            return Stop()

        def finished(self, done, cells, record):
            self.done += record is not None

    with contextlib.suppress(Stopped):
        run(RECIPES["digits"].with_settings(settings), "study", watch=Watch())
    np.savez("expected.npz", **expected)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
