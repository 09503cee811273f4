"""The time and the precision of supervision complexity at size.

    python benchmarks/complexity.py --part exact       # 20 target sets, n = 4,096
    python benchmarks/complexity.py --part features    # n = 60,000
    python benchmarks/complexity.py --part error       # of the estimate, at 4,096

Without `--part`, all three. The student is a LeNet-5 at its initial weights, the
examples are training images of Fashion-MNIST. The target sets are the labels and soft
targets of another LeNet-5 after each epoch of its training, at several temperatures.

"exact" is one float64 factorisation of the kernel, with the check of its condition, and
the adjusted complexity of all target sets. "features" is the way from images to
complexities without a kernel: `ntk_features`, the `(dim, dim)` system, the same target
sets. "error" is the estimate's relative error against the exact value, at the same
ridge and over all target sets, for several ridges, numbers of features and seeds: with
fewer features than the ridge lets eigenvalues count, there is less to fit the targets
with, and the estimate is too large. The kernel is
kept in `--out`, where a run that was stopped goes on.
"""

import argparse
import math
import os
import platform
import resource
import statistics
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from scipy.stats import spearmanr

from keras_kd import datasets
from keras_kd.complexity import (
    FeatureFactorization,
    KernelFactorization,
    adjusted_supervision_complexity,
    soft_targets,
)
from keras_kd.experiments import build
from keras_kd.ntk import empirical_ntk, ntk_features

PARTS = ("exact", "features", "error")
CLASSES = 10


def main():
    args = arguments()
    folder = Path(args.out)
    folder.mkdir(parents=True, exist_ok=True)
    data = datasets.load("fashion_mnist", folder=args.folder)
    # The order of the files is no order, and the first are the same in all parts.
    x, y = data.x_train[: args.n_features], data.y_train[: args.n_features]
    student = build("lenet5", x.shape[1:], CLASSES, seed=0)
    targets = target_sets(x, y, args.target_sets)
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, OMP_NUM_THREADS="
        f"{os.environ.get('OMP_NUM_THREADS', 'unset')}; Keras {keras.__version__}, "
        f"{keras.backend.backend()}, NumPy {np.__version__}; {len(targets)} target "
        f"sets of {CLASSES} outputs"
    )
    parts = PARTS if args.part is None else (args.part,)
    if "exact" in parts:
        exact(args, folder, student, x, targets)
    if "features" in parts:
        features(args, student, x, targets)
    if "error" in parts:
        error(args, folder, student, x, targets)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"\nPeak memory of this process: {peak:.1f} GiB.")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--part", choices=PARTS)
    parser.add_argument("--folder", help="where the data set's files are")
    parser.add_argument("--out", default="runs/complexity")
    parser.add_argument("--n", type=int, default=4_096, help="of the exact kernel")
    parser.add_argument("--n-features", type=int, default=60_000)
    parser.add_argument("--dim", type=int, default=2_048, help="of part features")
    parser.add_argument(
        "--dims", type=int, nargs="+", default=[256, 512, 1_024, 2_048, 4_096, 8_192]
    )
    parser.add_argument("--seeds", type=int, default=3, help="of part error")
    parser.add_argument("--target-sets", type=int, default=20)
    parser.add_argument(
        "--ridges",
        type=float,
        nargs="+",
        default=[1e-3, 1e-2, 1e-1, 1.0],
        help="in units of the kernel's mean diagonal entry",
    )
    parser.add_argument("--rounds", type=int, default=3, help="of the exact timing")
    parser.add_argument("--toy", action="store_true", help="sizes of a few seconds")
    args = parser.parse_args()
    if args.toy:
        args.n, args.n_features, args.dim, args.dims = 256, 1_024, 128, [64, 256, 1_024]
    return args


def target_sets(x, y, count):
    """`(name, (n, k))`: labels, and soft targets of stages at several temperatures."""
    teacher = build("lenet5", x.shape[1:], CLASSES, seed=1)
    teacher.compile(
        keras.optimizers.Adam(),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    first = slice(min(len(x), 5_000))
    sets = [("labels", np.eye(CLASSES)[y] - 1 / CLASSES)]
    epochs = 0
    while len(sets) < count:
        teacher.fit(x[first], y[first], batch_size=64, verbose=0)
        epochs += 1
        logits = teacher.predict(x, batch_size=512, verbose=0)
        for temperature in (0.25, 1, 4, 16)[: count - len(sets)]:
            name = f"epoch {epochs}, temperature {temperature:g}"
            sets.append((name, soft_targets(logits, temperature)))
    return sets


def kernel_of(args, folder, student, x):
    kernel = empirical_ntk(
        student,
        x[: args.n],
        accumulate="float64",
        out=str(folder / f"kernel-{args.n}.npy"),
    )
    return np.array(kernel) / CLASSES


def complexities(solver, targets):
    n = solver.n
    return [adjusted_supervision_complexity(solver, y[:n]) for _, y in targets]


def exact(args, folder, student, x, targets):
    start = time.perf_counter()
    kernel = kernel_of(args, folder, student, x)
    print(
        f"\n## n = {len(kernel):,}, exact\n\nKernel: {time.perf_counter() - start:.1f} "
        "s (or read from a run before).\n\n"
        "| relative ridge | factorisation, s | all targets, s | together, s (range) "
        "| condition | residual |\n|---|---|---|---|---|---|"
    )
    unit = mean_diagonal(kernel)
    for relative in (0.0, args.ridges[0]):
        factoring, solving = [], []
        for _ in range(args.rounds):
            start = time.perf_counter()
            # At ridge 0 the kernel may be singular, and says so.
            solver = KernelFactorization(
                kernel, relative * unit, ill_conditioned="warn"
            )
            middle = time.perf_counter()
            values = complexities(solver, targets)
            end = time.perf_counter()
            factoring.append(middle - start)
            solving.append(end - middle)
        both = np.add(factoring, solving)
        print(
            f"| {solver.ridge / unit:.2g} | {statistics.median(factoring):.2f} "
            f"| {statistics.median(solving):.2f} | {np.median(both):.2f} "
            f"({both.min():.2f} to {both.max():.2f}) | {solver.condition_number:.2g} "
            f"| {max(v.residual for v in values):.1g} |"
        )
        del solver


def features(args, student, x, targets):
    start = time.perf_counter()
    phi = ntk_features(student, x, args.dim) / math.sqrt(CLASSES)
    print(
        f"\n## n = {len(x):,}, {args.dim:,} features\n\n"
        f"Features: {time.perf_counter() - start:.1f} s.\n\n"
        "| relative ridge | system, s | all targets, s | residual |\n|---|---|---|---|"
    )
    found = []
    for relative in args.ridges:
        start = time.perf_counter()
        solver = FeatureFactorization(phi, relative * mean_square(phi))
        middle = time.perf_counter()
        found.append(complexities(solver, targets))
        end = time.perf_counter()
        print(
            f"| {relative:g} | {middle - start:.1f} | {end - middle:.1f} "
            f"| {max(v.residual for v in found[-1]):.1g} |"
        )
    print("\nAdjusted complexity by ridge:\n")
    print("| targets | " + " | ".join(f"{r:g}" for r in args.ridges) + " |")
    print("|---|" + "---|" * len(args.ridges))
    for (name, _), *values in zip(targets, *found, strict=True):
        print(f"| {name} | " + " | ".join(f"{v.value:.4g}" for v in values) + " |")


def error(args, folder, student, x, targets):
    kernel = kernel_of(args, folder, student, x)
    # Temperature alone would order the bare values.
    norms = np.array([np.sqrt(np.mean(y[: args.n] ** 2)) for _, y in targets])
    ridges = [r * mean_diagonal(kernel) for r in args.ridges]
    exact_values = []
    for ridge in ridges:
        solver = KernelFactorization(kernel, ridge)
        exact_values.append(values_of(solver, targets))
        del solver
    print(
        f"\n## The estimate's error at n = {len(kernel):,}\n\n{args.seeds} seeds; "
        "relative to the exact value at the same ridge; order is the least of "
        "Spearman's correlations, over the targets, of complexity per norm.\n\n"
        "| relative ridge | features | mean error | largest, in size | order |\n"
        "|---|---|---|---|---|"
    )
    for dim in args.dims:
        drawn = [
            ntk_features(student, x[: args.n], dim, seed) / math.sqrt(CLASSES)
            for seed in range(args.seeds)
        ]
        for relative, ridge, true in zip(
            args.ridges, ridges, exact_values, strict=True
        ):
            found = [
                values_of(FeatureFactorization(phi, ridge), targets) for phi in drawn
            ]
            errors = np.array(found) / true - 1
            order = min(spearmanr(f / norms, true / norms)[0] for f in found)
            print(
                f"| {relative:g} | {dim:,} | {errors.mean():+.1%} "
                f"| {np.abs(errors).max():.1%} | {order:.3f} |",
                flush=True,
            )


def values_of(solver, targets):
    return np.array([v.value for v in complexities(solver, targets)])


def mean_diagonal(kernel):
    return float(np.trace(kernel)) / len(kernel)


def mean_square(phi):
    """The mean of the kernel's diagonal."""
    return float(np.einsum("id,id->", phi, phi, dtype=np.float64)) / len(phi)


if __name__ == "__main__":
    main()
