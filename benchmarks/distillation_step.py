"""The time of a distillation step beside `keras.distillation.Distiller`.

    KERAS_BACKEND=jax python benchmarks/distillation_step.py

Both distillers train the same student from the same teacher with the same losses on
the same arrays, in turns of one epoch each; the ratio is taken pair by pair, so that a
machine that slows down slows both. Prints a Markdown table.
"""

import argparse
import os
import platform
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

import keras_kd
from keras_kd.losses import SoftTargets
from keras_kd.models import LeNet5, ResNet


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


def feature_loss(teacher, student):
    # The objects of Keras, in both distillers.
    return keras.distillation.FeatureDistillation(
        "mse", last_convolution(teacher), last_convolution(student)
    )


def network(name):
    shape = (32, 32, 3)
    if name.startswith("lenet5x"):
        return LeNet5(shape, 10, width=float(name.removeprefix("lenet5x")))
    return ResNet(shape, 10, depth=int(name.removeprefix("resnet")))


def pair(case, teacher_name, student_name):
    """Two compiled distillers, ours and Keras's."""
    teacher, student = network(teacher_name), network(student_name)
    other = network(student_name)
    other.set_weights(student.get_weights())
    if case == "logits":
        ours_losses, theirs_losses = [SoftTargets(4.0)], [logits_loss()]
    else:
        ours_losses = [SoftTargets(4.0), feature_loss(teacher, student)]
        theirs_losses = [logits_loss(), feature_loss(teacher, other)]
    ours = keras_kd.Distiller(teacher, student, ours_losses, alpha=0.5)
    theirs = keras.distillation.Distiller(
        teacher, other, theirs_losses, student_loss_weight=0.5
    )
    for distiller in (ours, theirs):
        distiller.compile(
            keras.optimizers.SGD(1e-3, momentum=0.9),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
    return ours, theirs


def measure(case, teacher_name, student_name, batch, steps, pairs):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(batch * steps, 32, 32, 3)).astype("float32")
    y = rng.integers(0, 10, size=batch * steps)
    distillers = pair(case, teacher_name, student_name)
    clock = EpochTime()

    def epoch(distiller):
        distiller.fit(
            x, y, batch_size=batch, shuffle=False, verbose=0, callbacks=[clock]
        )
        return clock.seconds / steps

    for distiller in distillers:
        epoch(distiller)
    times = [[epoch(d) for d in distillers] for _ in range(pairs)]
    ours, theirs = (statistics.median(column) for column in zip(*times, strict=True))
    ratios = sorted(b / a for a, b in times)
    return ours, theirs, statistics.median(ratios), ratios[0], ratios[-1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=8, help="steps a turn")
    parser.add_argument("--pairs", type=int, default=7, help="turns of each")
    args = parser.parse_args()
    backend = keras.backend.backend()
    print(
        f"{backend}, Keras {keras.__version__}, {platform.machine()}, "
        f"{os.cpu_count()} cores, batch {args.batch}, 32x32x3; ms a step, median of "
        f"{args.pairs} turns of {args.steps} steps\n"
    )
    print(
        "| backend | losses | teacher | student | ours | Keras | Keras/ours (range) |"
    )
    print("|---|---|---|---|---|---|---|")
    for case, teacher, student in (
        ("logits", "resnet20", "lenet5x8"),
        ("logits + last conv", "resnet20", "resnet8"),
    ):
        ours, theirs, ratio, low, high = measure(
            case, teacher, student, args.batch, args.steps, args.pairs
        )
        print(
            f"| {backend} | {case} | {teacher} | {student} | {1e3 * ours:.1f} | "
            f"{1e3 * theirs:.1f} | {ratio:.2f} ({low:.2f} to {high:.2f}) |",
            flush=True,
        )


if __name__ == "__main__":
    main()
