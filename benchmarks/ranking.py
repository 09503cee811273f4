"""Does the teacher report's ranking agree with how students turn out?

    python benchmarks/ranking.py --dataset fashion_mnist --out ranking
    python benchmarks/ranking.py --dataset fashion_overlay --out ranking

A ResNet is trained on labels and its trajectory recorded. Pairs of one of its
checkpoints and a temperature are ranked by `compare_teachers` for a LeNet-5 at its
initial weights; then LeNet-5s are distilled from each pair, to the end, on the same
training images from seeds that all pairs share. The table is Spearman's correlation
over the pairs between each criterion, its sign such that more is better, and the
students' mean test accuracy.

The kernel machine is fitted to training images, on which the students learn too, and
tested on images that neither teacher nor student has seen and that are not of the test
set. The test set serves for the students' accuracy alone.

The first interval is that of the bootstrap over pairs, 95%. It does not know of another
teacher: one run has one. The second is that of the difference to the first baseline, on
the same resampled pairs. "With the others" is the correlation of one seed's students
with the mean of the other seeds': no criterion can be expected to do better.

A run that is stopped goes on where it was, with the same arguments. Each student is a
line of `students.jsonl`.
"""

import argparse
import dataclasses
import json
import os
import platform
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from scipy.stats import rankdata

from keras_kd import TeacherTrajectory, datasets
from keras_kd.complexity import compare_teachers
from keras_kd.complexity.ranking.criteria import CRITERIA, criteria_of
from keras_kd.datasets import Batches, Dataset
from keras_kd.experiments import build, evaluate, train_teacher
from keras_kd.experiments.fitting import optimizer
from keras_kd.ntk import empirical_ntk
from keras_kd.outputs import categorical

RESAMPLES = 5_000
# What a practitioner could go by without any kernel; the first is the one to beat.
BASELINES = ("teacher_heldout_accuracy", "temperature", "step")
# The report's own that is no complexity either.
KERNEL_MACHINE = "heldout_accuracy"
OF_CLASSES = criteria_of(categorical)


def main():
    args = arguments()
    folder = Path(args.out) / args.dataset
    folder.mkdir(parents=True, exist_ok=True)
    keep_setting(folder / "setting.json", setting_of(args))
    data, held = images(args)
    trajectory = teacher_of(args, folder, data)
    checkpoints = chosen(len(trajectory), -(-args.pairs // len(args.temperatures)))
    print(
        f"{args.dataset}: checkpoints {checkpoints} of {len(trajectory)}, "
        f"temperatures {args.temperatures}, {args.students} students each",
        flush=True,
    )
    table = criteria(args, folder, data, held, trajectory, checkpoints)
    accuracies = students(args, folder, data, trajectory, checkpoints)
    print_tables(args, folder, table, accuracies)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--dataset", choices=("fashion_mnist", "fashion_overlay"), required=True
    )
    parser.add_argument("--folder", help="where the data set's files are")
    parser.add_argument("--out", default="runs/ranking")
    parser.add_argument("--teacher", default="resnet8")
    parser.add_argument("--student", default="lenet5")
    parser.add_argument("--n-train", type=int, default=5_000)
    parser.add_argument("--n-test", type=int, default=10_000)
    parser.add_argument(
        "--n-kernel", type=int, default=1_500, help="of the training images"
    )
    parser.add_argument(
        "--n-held", type=int, default=1_000, help="images nobody trains on"
    )
    parser.add_argument("--epochs", type=int, default=30, help="of a student")
    parser.add_argument("--teacher-epochs", type=int, default=30)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, default=0.1)
    parser.add_argument("--pairs", type=int, default=15, help="at least so many")
    parser.add_argument("--temperatures", type=float, nargs="+", default=[1, 4, 16])
    parser.add_argument("--students", type=int, default=3, help="of each pair")
    parser.add_argument("--toy", action="store_true", help="sizes of a few minutes")
    args = parser.parse_args()
    if args.toy:
        args.n_train, args.n_test, args.n_kernel, args.n_held = 256, 200, 96, 64
        args.epochs, args.teacher_epochs, args.pairs, args.students = 15, 4, 4, 2
        args.temperatures, args.batch_size = [1, 4], 64
    return args


def setting_of(args):
    setting = {k: v for k, v in vars(args).items() if k not in ("folder", "out")}
    # Later runs may add students and pairs to what is there.
    for name in ("pairs", "students", "toy"):
        del setting[name]
    return setting | {"backend": keras.backend.backend()}


def keep_setting(file, setting):
    if not file.exists():
        file.write_text(json.dumps(setting, indent=1))
    elif (kept := json.loads(file.read_text())) != setting:
        different = {
            k: (kept.get(k), v) for k, v in setting.items() if kept.get(k) != v
        }
        raise SystemExit(
            f"{file.parent} holds a run with other arguments (there, here): "
            f"{different}. Choose another --out."
        )


def images(args):
    """Training and test images, and images that are in neither."""
    both = datasets.load(
        args.dataset,
        folder=args.folder,
        n_train=args.n_train + args.n_held,
        n_test=args.n_test,
    )
    order = np.random.default_rng(0).permutation(len(both.x_train))
    train, held = order[: args.n_train], order[args.n_train :]
    data = dataclasses.replace(
        both, x_train=both.x_train[train], y_train=both.y_train[train]
    )
    return data, (both.x_train[held], both.y_train[held])


def teacher_of(args, folder, data: Dataset):
    done = folder / "teacher.json"
    if not done.exists():
        teacher = build(args.teacher, data.x_train.shape[1:], data.classes, seed=0)
        run = train_teacher(
            teacher,
            data,
            folder / "teacher",
            epochs=args.teacher_epochs,
            batch_size=args.batch_size,
            learning_rate=args.learning_rate,
        )
        done.write_text(json.dumps({"accuracy": run.accuracy, "seconds": run.seconds}))
        print(f"teacher: {run.accuracy:.1%} in {run.seconds:.0f} s", flush=True)
    return TeacherTrajectory(folder / "teacher")


def chosen(available, count):
    """Indices of `count` checkpoints, denser early, where teachers change most."""
    if count > available:
        raise SystemExit(
            f"{count} checkpoints are needed and {available} recorded: train the "
            "teacher for more epochs, or pass more --temperatures."
        )
    indices = np.rint(np.geomspace(1, available, count)).astype(int)
    # Distinct, and the last one stays the last.
    for i in range(1, count):
        indices[i] = max(indices[i], indices[i - 1] + 1)
    return (indices - 1).tolist()


def criteria(args, folder, data, held, trajectory, checkpoints):
    """`{(checkpoint, temperature): {criterion: value, more of it is better}}`."""
    n = args.n_kernel
    x, y = (
        np.concatenate([mine[:n], theirs])
        for mine, theirs in zip((data.x_train, data.y_train), held, strict=True)
    )
    student = build(args.student, data.x_train.shape[1:], data.classes, seed=0)
    start = time.perf_counter()
    kernel = empirical_ntk(
        student, x, accumulate="float64", out=str(folder / "kernel.npy")
    )
    print(f"kernel of {len(x)} images: {time.perf_counter() - start:.0f} s", flush=True)
    teacher = trajectory.load(0)
    logits = {}
    for index in checkpoints:
        trajectory.load(index, teacher)
        logits[str(index)] = teacher.predict(x, batch_size=512, verbose=0)
    start = time.perf_counter()
    report = compare_teachers(
        student,
        logits,
        x,
        y,
        args.temperatures,
        held_out=np.arange(n, len(x)),
        kernel=np.asarray(kernel) / data.classes,
    )
    print(f"report: {time.perf_counter() - start:.0f} s", flush=True)
    print(report)
    report.to_json(folder / "report.json")
    table = {}
    for row in report.rows:
        index = int(row.teacher)
        values = {
            # Of its own training images a teacher knows too much.
            "teacher_heldout_accuracy": np.mean(
                logits[row.teacher][n:].argmax(1) == y[n:]
            ),
            "temperature": row.temperature,
            "step": trajectory[index].step,
        }
        for name in OF_CLASSES:
            value, more_is_better = getattr(row, name), CRITERIA[name]
            # A ratio to 0 is the worst there is.
            value = np.inf if value is None else value
            values[name] = value if more_is_better else -value
        table[index, row.temperature] = {k: float(v) for k, v in values.items()}
    return table


def students(args, folder, data, trajectory, checkpoints):
    """`{(checkpoint, temperature): [test accuracy for each seed]}`."""
    file = folder / "students.jsonl"
    finished = read_lines(file)
    teacher, logits = trajectory.load(0), {}
    todo = [
        (index, float(temperature), seed)
        for seed in range(args.students)
        for index in checkpoints
        for temperature in args.temperatures
    ]
    for done, key in enumerate(todo, 1):
        if key in finished:
            continue
        if key[0] not in logits:
            trajectory.load(key[0], teacher)
            logits[key[0]] = teacher.predict(data.x_train, batch_size=512, verbose=0)
        record = train_student(args, data, logits[key[0]], *key)
        with file.open("a") as lines:
            lines.write(json.dumps(record) + "\n")
        finished[key] = record
        print(
            f"student {done}/{len(todo)}: checkpoint {key[0]}, temperature {key[1]:g}, "
            f"seed {key[2]}: {record['accuracy']:.2%} in {record['seconds']:.0f} s",
            flush=True,
        )
    return {
        (index, float(temperature)): [
            finished[index, float(temperature), seed]["accuracy"]
            for seed in range(args.students)
        ]
        for index in checkpoints
        for temperature in args.temperatures
    }


def read_lines(file):
    """Finished students; a line that was cut off is taken out."""
    finished, whole = {}, ""
    for line in file.read_text().splitlines() if file.exists() else []:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        key = record["checkpoint"], record["temperature"], record["seed"]
        finished[key] = record
        whole += line + "\n"
    if file.exists():
        file.write_text(whole)
    return finished


def train_student(args, data, logits, index, temperature, seed):
    student = build(args.student, data.x_train.shape[1:], data.classes, seed=seed)
    batches = Batches(data.x_train, logits, batch_size=args.batch_size, seed=seed)
    student.compile(
        optimizer(args.learning_rate, args.epochs * len(batches)),
        soft_targets_loss(temperature),
    )
    start = time.perf_counter()
    student.fit(
        batches,
        epochs=args.epochs,
        shuffle=False,
        callbacks=[batches.epoch_callback()],
        verbose=0,
    )
    seconds = time.perf_counter() - start
    accuracy, _ = evaluate(student, data)
    own = student.predict(data.x_train, batch_size=512, verbose=0)
    # Or every student holds on to its compiled step.
    keras.backend.clear_session()
    return {
        "checkpoint": index,
        "temperature": temperature,
        "seed": seed,
        "accuracy": accuracy,
        "train_fidelity": float(np.mean(own.argmax(1) == logits.argmax(1))),
        "seconds": seconds,
    }


def soft_targets_loss(temperature):
    """What `Distiller` minimises at alpha 1, of logits that are known already.

    A frozen teacher says the same of an image in every epoch, and running it takes ten
    times as long as training a LeNet-5.
    """

    def loss(logits, outputs):
        return temperature**2 * keras.losses.categorical_crossentropy(
            keras.ops.softmax(logits / temperature),
            outputs / temperature,
            from_logits=True,
        )

    return loss


def correlations(x, y):
    """Spearman's, row by row; 0 where a row is constant."""
    x, y = (rankdata(a, axis=-1) for a in (x, y))
    x, y = (a - a.mean(-1, keepdims=True) for a in (x, y))
    size = np.sqrt(np.sum(x * x, -1) * np.sum(y * y, -1))
    return np.sum(x * y, -1) / np.where(size > 0, size, 1)


def print_tables(args, folder, table, accuracies):
    pairs = list(table)
    by_seed = np.array([accuracies[pair] for pair in pairs])
    mean = by_seed.mean(1)
    # The same pairs for all criteria, so that differences can be judged.
    drawn = np.random.default_rng(0).integers(len(pairs), size=(RESAMPLES, len(pairs)))
    resampled = {}
    rows = []
    names = [*BASELINES, *OF_CLASSES]
    for name in names:
        values = np.array([table[pair][name] for pair in pairs])
        resampled[name] = correlations(values[drawn], mean[drawn])
        difference = resampled[name] - resampled[BASELINES[0]]
        rows.append(
            {
                "criterion": name,
                "spearman": float(correlations(values, mean)),
                "interval": np.percentile(resampled[name], (2.5, 97.5)).tolist(),
                "difference": np.percentile(difference, (2.5, 97.5)).tolist(),
                "baseline": name in (*BASELINES, KERNEL_MACHINE),
                # Of the pair it puts first (the mean of those it ties).
                "chosen": float(mean[values == values.max()].mean()),
            }
        )
    seeds = by_seed.shape[1]
    others = [
        float(correlations(by_seed[:, s], np.delete(by_seed, s, 1).mean(1)))
        for s in range(seeds)
        if seeds > 1
    ]
    result = {
        "machine": platform.processor() or platform.machine(),
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
        "rows": rows,
        "with_the_others": others,
        "pairs": [
            {"checkpoint": i, "temperature": t, "accuracies": accuracies[i, t]}
            | table[i, t]
            for i, t in pairs
        ],
    }
    (folder / "result.json").write_text(json.dumps(result, indent=1))

    print(
        f"\n{args.dataset}, {len(pairs)} pairs, {seeds} students each; test accuracy:"
    )
    print("\n| checkpoint | step | teacher, held out | " + "temperature | mean | sd |")
    print("|---|---|---|---|---|---|")
    for (index, temperature), one in zip(pairs, by_seed, strict=True):
        row = table[index, temperature]
        spread = f"{one.std(ddof=1):.2%}" if seeds > 1 else ""
        print(
            f"| {index} | {row['step']:.0f} | {row['teacher_heldout_accuracy']:.1%} "
            f"| {temperature:g} | {one.mean():.2%} | {spread} |"
        )
    print(
        "\n| criterion | Spearman | 95% | less the first row's, 95% | students of its "
        "first choice |\n|---|---|---|---|---|"
    )
    for row in rows:
        name = row["criterion"] + (" (baseline)" if row["baseline"] else "")
        low, high = row["interval"]
        below, above = row["difference"]
        versus = "" if row is rows[0] else f"{below:+.2f} to {above:+.2f}"
        print(
            f"| {name} | {row['spearman']:.2f} | {low:.2f} to {high:.2f} | {versus} "
            f"| {row['chosen']:.2%} |"
        )
    print(f"\nBest pair: {mean.max():.2%}; mean over all pairs: {mean.mean():.2%}.")
    if others:
        print(
            "One seed's students with the others': Spearman "
            + ", ".join(f"{r:.2f}" for r in others)
            + "."
        )


if __name__ == "__main__":
    main()
