"""What was tried to lose, damage or deceive, and how often it went as it should.

    python benchmarks/robustness.py --out robustness.jsonl

Seven kinds of trials, each of its own file in `robustness/`:

- `kills`: a teacher's training that is recorded, the building of a cache, a study and a
  kernel are killed (SIGKILL) at a random moment, and called once more. Clean: what is
  there then is bit for bit what nothing has disturbed.
- `damages`: files that were flipped, zeroed, cut, emptied, exchanged or removed. Clean:
  the file is named, or what it held is made again.
- `attacks`: files that somebody has made up. Clean: refused, and nothing is touched.
- `wrong_inputs`: mistakes of the caller. Clean: one clear error.
- `together`: two processes write one folder. Clean: one works, the other is told.
- `full_disks`: a disk that is too small. Clean: one error says so; what is there can be
  gone on with, once there is room.
- `leaks`: what is kept in memory, or open, after its use, on all backends.

Damages, attacks and wrong inputs are tests of the suite, by their markers; each is a
trial. With `--out`, trials are written down as they come, and what is there already is
not tried again. Exits with 1 where a trial was not clean.
"""

import argparse
import collections
import importlib
import json
import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# The one that starts fastest, and has no threads that a forked process would miss.
os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["PYTHONPATH"] = os.pathsep.join(
    filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])
)
sys.path[:0] = [str(ROOT), str(Path(__file__).with_name("robustness"))]

TRIALS = {"kills": 50, "together": 16, "full_disks": 16, "leaks": 3}
MARKERS = {"damages": "damage", "attacks": "attack", "wrong_inputs": "wrong_input"}
WRITERS = ["recorder", "cache", "study", "kernel"]
KINDS = ["kills", *MARKERS, "together", "full_disks", "leaks"]


def rows(kind, args, folder, undisturbed, seen):
    if kind in MARKERS:
        import tables

        return tables.rows(MARKERS[kind], seen, args.select)
    trials = args.trials or TRIALS[kind]
    if kind == "leaks":
        import leaks

        return leaks.rows(args.backends, folder, trials, seen)
    return importlib.import_module(kind).rows(undisturbed, folder, trials, seen)


def import_all():
    """Here, and not in each process that is forked: it takes longer than its work."""
    if os.environ["KERAS_BACKEND"] == "torch":
        # Keras sets TensorFlow's seed where there is one.
        sys.modules.setdefault("tensorflow", None)
        # PyTorch imports it with the first optimizer.
        importlib.import_module("torch._dynamo")


def show(records):
    """The counts as Markdown, and what was not clean."""
    print("\n| kind | tried | clean |\n|---|---|---|")
    for kind in KINDS:
        tried = [r for r in records if r["kind"] == kind]
        if tried:
            print(f"| {kind} | {len(tried)} | {sum(r['clean'] for r in tried)} |")
    for record in records:
        if not record["clean"]:
            print(f"\n{record['kind']}: {record['trial']}: {record['failure']}")
    notes = collections.Counter(n for r in records for n in r["notes"])
    for note, count in notes.items():
        print(f"\n{count} times: {note}")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--trials", type=int, help="of a kind; default: its own number")
    parser.add_argument("--writers", nargs="+", choices=WRITERS, default=WRITERS)
    parser.add_argument(
        "--backends",
        nargs="+",
        default=["torch", "tensorflow", "jax"],
        help="for leaks; the other kinds run on KERAS_BACKEND, by default torch",
    )
    parser.add_argument(
        "--select",
        nargs=argparse.REMAINDER,
        default=[],
        help="last: further arguments of pytest, for what are tests",
    )
    parser.add_argument("--out", type=Path, help="JSON lines are added to it")
    args = parser.parse_args()
    records = []
    if args.out and args.out.exists():
        records = [json.loads(line) for line in args.out.read_text().splitlines()]
    with tempfile.TemporaryDirectory() as temporary:
        undisturbed = None
        if {"kills", "together", "full_disks"} & set(args.kinds):
            import_all()
            from undisturbed import Undisturbed

            undisturbed = Undisturbed(temporary, args.writers)
        for kind in args.kinds:
            seen = {r["trial"] for r in records if r["kind"] == kind}
            folder = Path(temporary, kind)
            folder.mkdir()
            for trial, failure, notes in rows(kind, args, folder, undisturbed, seen):
                record = {"kind": kind, "trial": trial, "clean": failure is None}
                record |= {"failure": failure, "notes": notes}
                records.append(record)
                if args.out:
                    with args.out.open("a") as file:
                        file.write(json.dumps(record) + "\n")
                if failure is not None:
                    print(f"{kind}: {trial}: {failure}", flush=True)
    show([r for r in records if r["kind"] in args.kinds])
    return int(any(not r["clean"] for r in records if r["kind"] in args.kinds))


if __name__ == "__main__":
    sys.exit(main())
