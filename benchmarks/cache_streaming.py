"""The memory of training from a large `SupervisionCache`, and what its checksums cost.

    KERAS_BACKEND=tensorflow python benchmarks/cache_streaming.py

Makes a cache of 1,000,000 examples, 100 classes and two checkpoints of a tiny teacher,
on disk. Then trains a student for one epoch, shuffled: on labels alone, and from the
cache with `OnlineTeacher`, which goes through both checkpoints; from arrays, and from a
`tf.data` pipeline. Each runs in a process of its own, and its peak resident memory is
that which the system has counted. Pages of the mapped files are in it, although the
system takes them back when it needs them. Prints a Markdown table.

"Unchecked" is the same cache without the checksums of its blocks, as earlier versions
wrote and read it. "Comparing" is the time spent with them, which all falls into the
first epoch that reads a checkpoint; `--rounds` repeats everything, in turns.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

CLASSES, FEATURES, BATCH = 100, 8, 1024
WAYS = {
    "student alone": "alone",
    "from the cache": "cache",
    "from it, unchecked": "unchecked",
}


def make(folder, n, dtype):
    """The data, a teacher's trajectory of two checkpoints, and the cache."""
    import keras
    import numpy as np

    import keras_kd

    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, FEATURES)).astype("float32")
    y = rng.integers(0, CLASSES, n).astype("int32")
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", y)
    teacher = keras.Sequential([keras.Input((FEATURES,)), keras.layers.Dense(CLASSES)])
    teacher.compile("sgd", sparse_loss())
    recorder = keras_kd.TrajectoryRecorder(folder / "teacher")
    few = slice(10 * BATCH)
    teacher.fit(x[few], y[few], BATCH, epochs=2, verbose=0, callbacks=[recorder])
    begun = time.perf_counter()
    cache = keras_kd.SupervisionCache.build(
        keras_kd.TeacherTrajectory(folder / "teacher"),
        (x, y),
        folder / "cache",
        dtype=dtype,
        batch_size=8192,
        progress=False,
    )
    assert (cache.n, len(cache)) == (n, 2)
    seconds = time.perf_counter() - begun
    without_checksums(folder / "cache", folder / "unchecked")
    return {"seconds": seconds, "size": cache.size}


def without_checksums(folder, other):
    """The same arrays under a manifest as earlier versions wrote it."""
    other.mkdir()
    content = json.loads((folder / "supervision.json").read_text())
    del content["sha256"], content["block_bytes"], content["files"]["blocks.npy"]
    (other / "supervision.json").write_text(json.dumps(content))
    for name in content["files"]:
        os.link(folder / name, other / name)


def timed(function, spent):
    """A function that adds the seconds that it takes."""

    def run(*arguments):
        begun = time.perf_counter()
        try:
            return function(*arguments)
        finally:
            spent.append(time.perf_counter() - begun)

    return run


def train(folder, kind, which):
    """One epoch; seconds, those of comparing checksums, and peak memory."""
    import keras
    import numpy as np

    import keras_kd

    x, y = (np.load(folder / f"{name}.npy") for name in "xy")
    student = keras.Sequential(
        [
            keras.Input((FEATURES,)),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(CLASSES),
        ]
    )
    model, callbacks = student, []
    spent = []
    if which != "alone":
        from keras_kd.teachers.cache.blocks import CheckedArray

        CheckedArray._compare = timed(CheckedArray._compare, spent)
        cache = keras_kd.SupervisionCache(folder / which)
        model = keras_kd.Distiller(cache, student)
        callbacks = [keras_kd.OnlineTeacher(cache)]
    model.compile("sgd", sparse_loss())
    data = {"x": x, "y": y, "batch_size": BATCH}
    if kind == "tf.data":
        import tensorflow as tf

        slices = tf.data.Dataset.from_tensor_slices((x, y))
        data = {"x": slices.shuffle(100_000).batch(BATCH), "shuffle": False}
    begun = time.perf_counter()
    model.fit(**data, verbose=0, callbacks=callbacks)
    seconds = time.perf_counter() - begun
    # In KiB on Linux, in bytes on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return {"seconds": seconds, "peak": peak, "comparing": sum(spent)}


def sparse_loss():
    import keras

    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def in_a_process(*arguments):
    command = [sys.executable, __file__, *map(str, arguments)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(output.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=1_000_000)
    parser.add_argument("--dtype", default="float16", choices=["float16", "float32"])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where to write; on a disk")
    parser.add_argument("--step", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step == ["make"]:
        print(json.dumps(make(options.folder, options.examples, options.dtype)))
        return
    if options.step:
        print(json.dumps(train(options.folder, *options.step)))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        at = ("--folder", folder)
        size = ("--examples", options.examples, "--dtype", options.dtype)
        made = in_a_process(*at, *size, "--step", "make")
        backend = os.environ.get("KERAS_BACKEND", "tensorflow")
        print(
            f"{backend}, {platform.machine()}, {os.cpu_count()} cores; "
            f"{options.examples:,} examples, {CLASSES} classes, 2 checkpoints, "
            f"{options.dtype}: {made['size'] / 1e6:.0f} MB on disk, built in "
            f"{made['seconds']:.0f} s.\n"
        )
        print("| data | | peak, MB | above, MB | s | comparing, s | beside unchecked |")
        print("|---|---|---|---|---|---|---|")
        for kind in ("arrays", "tf.data"):
            runs = {name: [] for name in WAYS}
            for turn in range(options.rounds):
                # Nobody always comes after the same one.
                for name in list(WAYS)[:: 1 if turn % 2 else -1]:
                    runs[name].append(in_a_process(*at, "--step", kind, WAYS[name]))
            for name in WAYS:
                print(row(kind, name, runs), flush=True)


def row(kind, name, runs):
    """Of the table: medians, and ratios turn by turn with their range."""

    def middle(key, of=name):
        return statistics.median(run[key] for run in runs[of])

    above = middle("peak") - middle("peak", "student alone")
    pairs = zip(runs[name], runs["from it, unchecked"], strict=True)
    ratios = sorted(one["seconds"] / other["seconds"] for one, other in pairs)
    beside = f"{statistics.median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})"
    return (
        f"| {kind} | {name} | {middle('peak') / 1e6:.0f} | {above / 1e6:.0f} | "
        f"{middle('seconds'):.1f} | {middle('comparing'):.3f} | {beside} |"
    )


if __name__ == "__main__":
    main()
