"""The time of a training step: the student alone, and distilled.

    KERAS_BACKEND=jax python benchmarks/distillation_step.py

Four ways to train the same student on the same data: alone on labels; distilled from a
`SupervisionCache`; distilled from the teacher as it runs; by
`keras.distillation.Distiller`. They take turns of one epoch each and ratios are taken
turn by turn, so that a machine that slows down slows all. The data are arrays or a
`tf.data` pipeline, 32x32x3 and 10 classes. Prints a Markdown table, the time that
building the cache takes, and the epoch in which it has paid: from which on building it
and training from it have taken less time than training beside the running teacher.
"""

import argparse
import math
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

import keras_kd
from keras_kd.losses import SoftTargets
from keras_kd.models import LeNet5, ResNet

CONTENDERS = ("alone", "cached", "live", "keras")
SHAPE, CLASSES = (32, 32, 3), 10


class EpochTime(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds = time.perf_counter() - self.start


def logits_loss():
    # The instance: given the string, Keras compares raw logits.
    return keras.distillation.LogitsDistillation(4.0, loss=keras.losses.KLDivergence())


def last_convolution(model):
    layers = [x for x in model.layers if isinstance(x, keras.layers.Conv2D)]
    return layers[-1].name


def network(name):
    if name.startswith("lenet5x"):
        return LeNet5(SHAPE, CLASSES, width=float(name.removeprefix("lenet5x")))
    return ResNet(SHAPE, CLASSES, depth=int(name.removeprefix("resnet")))


def trained(contender, teacher, student, tapped):
    """What `fit` is called of. `tapped` adds a loss on the last convolutions."""
    ours, theirs = [SoftTargets(4.0)], [logits_loss()]
    if tapped:
        # The object of Keras, in all distillers.
        names = last_convolution(tapped), last_convolution(student)
        for losses in (ours, theirs):
            losses.append(keras.distillation.FeatureDistillation("mse", *names))
    if contender == "alone":
        model = student
    elif contender == "keras":
        model = keras.distillation.Distiller(
            teacher, student, theirs, student_loss_weight=0.5
        )
    else:
        model = keras_kd.Distiller(teacher, student, ours, alpha=0.5)
    model.compile(
        keras.optimizers.SGD(1e-3, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return model


def feeds(x, y, batch, name):
    if name == "arrays":
        return {"x": x, "y": y, "batch_size": batch, "shuffle": False}
    import tensorflow as tf

    dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(batch)
    return {"x": dataset.prefetch(tf.data.AUTOTUNE)}


def measure(args, case, teacher_name, student_name):
    """`{feed: {contender: [seconds a step, turn by turn]}}`, and the cache's."""
    rng = np.random.default_rng(0)
    n = args.batch * args.steps
    x = rng.normal(size=(n, *SHAPE)).astype("float32")
    y = rng.integers(0, CLASSES, size=n)
    teacher, first = network(teacher_name), network(student_name)
    tapped = teacher if case != "logits" else None
    clock = EpochTime()
    with tempfile.TemporaryDirectory() as folder:
        build_seconds = []
        for i in range(2):  # the first compiles
            start = time.perf_counter()
            cache = keras_kd.SupervisionCache.build(
                teacher,
                (x, y),
                Path(folder) / str(i),
                taps=[last_convolution(teacher)] if tapped else (),
                progress=False,
            )
            build_seconds.append(time.perf_counter() - start)
        models = {}
        for contender in args.contenders:
            student = network(student_name)
            student.set_weights(first.get_weights())
            source = cache if contender == "cached" else teacher
            models[contender] = trained(contender, source, student, tapped)
        times = {}
        for feed in args.feeds:
            data = feeds(x, y, args.batch, feed)
            turns = {contender: [] for contender in models}
            for turn in range(args.pairs + 1):
                # Nobody always comes after the same one.
                order = list(models)
                order = order[turn % len(order) :] + order[: turn % len(order)]
                for contender in order:
                    models[contender].fit(**data, verbose=0, callbacks=[clock])
                    turns[contender].append(clock.seconds / args.steps)
            # The first turn compiles.
            times[feed] = {name: seconds[1:] for name, seconds in turns.items()}
    return times, build_seconds[1] / args.steps


def ratio(times, over, under):
    """Median and range of the ratios turn by turn, as text."""
    if over not in times or under not in times:
        return ""
    ratios = sorted(a / b for a, b in zip(times[over], times[under], strict=True))
    middle = statistics.median(ratios)
    return f"{middle:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=8, help="steps a turn")
    parser.add_argument("--pairs", type=int, default=7, help="turns of each")
    parser.add_argument("--teachers", nargs="+", default=["resnet20", "resnet56"])
    parser.add_argument("--students", nargs="+", default=["lenet5x8", "resnet8"])
    parser.add_argument("--feeds", nargs="+", default=["arrays", "tf.data"])
    parser.add_argument("--contenders", nargs="+", default=CONTENDERS)
    parser.add_argument(
        "--cases", nargs="+", default=["logits"], choices=["logits", "last-conv"]
    )
    args = parser.parse_args()
    backend = keras.backend.backend()
    print(
        f"{backend}, Keras {keras.__version__}, {platform.machine()}, "
        f"{os.cpu_count()} cores, batch {args.batch}, 32x32x3; ms a step, median of "
        f"{args.pairs} turns of {args.steps} steps; ratios turn by turn (range)\n"
    )
    print(
        "| backend | losses | teacher | student | data | "
        + " | ".join(args.contenders)
        + " | cached/alone | keras/live | keras/cached | building, ms a batch "
        "| paid in epoch |"
    )
    print("|---" * (10 + len(args.contenders)) + "|")
    for case in args.cases:
        for teacher in args.teachers:
            for student in args.students:
                by_feed, build = measure(args, case, teacher, student)
                for feed, times in by_feed.items():
                    middle = {k: statistics.median(v) for k, v in times.items()}
                    saved = middle.get("live", 0) - middle.get("cached", 0)
                    paid = math.ceil(build / saved) if saved > 0 else "never"
                    print(
                        f"| {backend} | {case} | {teacher} | {student} | {feed} | "
                        + " | ".join(f"{1e3 * m:.1f}" for m in middle.values())
                        + f" | {ratio(times, 'cached', 'alone')} "
                        f"| {ratio(times, 'keras', 'live')} "
                        f"| {ratio(times, 'keras', 'cached')} "
                        f"| {1e3 * build:.1f} | {paid} |",
                        flush=True,
                    )
                # Or every model holds on to its compiled step.
                keras.backend.clear_session()


if __name__ == "__main__":
    main()
