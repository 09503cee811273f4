"""The time of an empirical NTK beside its peers, and beside the hardware's floor.

    python benchmarks/ntk.py --neural-tangents-python nt/bin/python \
        --nngeometry-python nng/bin/python --out ntk.jsonl

Each contender runs in a process of its own, and gets the same networks, weights and
inputs (`ntk_peers/networks.py`); all change from round to round. A peer's settings are
tried first and its best go into the rounds, in which contenders take turns. Compilation
is over by then. Time is from inputs and weights that are in place to a NumPy array.

The floor is the operations that the method cannot avoid (`operation_counts`) over the
rate of the fastest float32 matrix product measured between the rounds: SciPy's and
torch's, of large squares and of this network's widest layer. The error is the relative
Frobenius norm against a float64 kernel of some of the images, the greatest of the
rounds. Memory is the resident set at its highest less what the imports took, and a
process that takes more than `--memory` is ended; ours is told that the machine has so
much.

neural-tangents does not import on current JAX, and gets an environment of its own:

    python -m venv nt
    nt/bin/pip install jax==0.4.25 jaxlib==0.4.25 "numpy<2" "scipy<1.13" \
        neural-tangents==0.6.5 frozendict

and nngeometry, which may as well share ours:

    python -m venv nng
    nng/bin/pip install torch torchvision nngeometry
"""

import argparse
import collections
import json
import math
import os
import platform
import queue
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "jax")

import numpy as np
from scipy.linalg import blas

sys.path.insert(0, str(Path(__file__).parent / "ntk_peers"))

import networks
import worker

PEERS = Path(__file__).parent / "ntk_peers"
# Network, logit (None: the trace over all), numbers of examples.
WORKLOADS = {
    "lenet5x8": ("lenet5x8", 0, (512, 2048, 8192)),
    "lenet5x8-trace": ("lenet5x8", None, (512,)),
    "mlp": ("mlp", 0, (2048,)),
    "resnet20": ("resnet20", 0, (256,)),
    "mobilenet_v3_0_35": ("mobilenet_v3_0_35", 0, (256,)),
}
TILES = (128, 256, 512, 1024, 2048)


class Failure(Exception):
    """A contender's process did not answer, and why."""


class Process:
    """One contender with one setting, kept between its kernels.

    Args:
        command: of the process.
        environment: added to this one's.
        memory: bytes above the imports beyond which it is ended.
    """

    def __init__(self, command, environment, memory):
        self.memory = memory
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115, closed with it
        self.process = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )
        self.lines: queue.Queue = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        first = self._answer(300)
        self.base, self.versions = first["base"], first["versions"]

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put("")

    def _resident(self):
        try:
            with open(f"/proc/{self.process.pid}/statm") as file:
                return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, IndexError):
            return 0

    def _answer(self, limit, base=math.inf):
        end = time.monotonic() + limit
        while True:
            try:
                line = self.lines.get(timeout=0.02)
            except queue.Empty:
                if self._resident() > base + self.memory:
                    self.close()
                    over = f"over {self.memory / 2**30:.3g} GiB"
                    raise Failure(over) from None
                if time.monotonic() > end:
                    self.close()
                    raise Failure(f"over {limit:.0f} s") from None
                continue
            if not line:
                code = self.process.wait()
                self.log.seek(0)
                said = [x for x in self.log.read().splitlines() if x.strip()][-1:]
                raise Failure(f"ended with {code}: {' '.join(said)[:200]}")
            answer = json.loads(line)
            if "error" in answer:
                raise Failure(answer["error"])
            return answer

    def ask(self, limit, **request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return self._answer(limit, self.base)

    def close(self):
        self.process.kill()
        self.process.wait()
        self.log.close()


class Workload:
    """A network, its draws of weights and inputs, and their files."""

    def __init__(self, name, n, folder, memory, images):
        self.name, self.n, self.folder, self.memory = name, n, Path(folder), memory
        self.network, self.logit, _ = WORKLOADS[name]
        self.model = networks.NETWORKS[self.network]()
        self.parameters = networks.trainable_size(self.model)
        self.operations = self.folder / "operations.json"
        self.operations.write_text(json.dumps(networks.operations(self.model)))
        self.logits = self.model.output_shape[-1] if self.logit is None else 1
        self.images = images
        self.draw(0)

    def draw(self, seed):
        self.arrays = self.folder / "arrays.npz"
        np.savez(self.arrays, **networks.draw(self.model, self.n, seed))

    def start(self, contender):
        environment = contender.environment | contender.exceptions.get(self.network, {})
        process = Process(contender.command, environment, self.memory)
        try:
            parameters = process.ask(
                300,
                do="network",
                network=self.network,
                path=str(self.operations),
                arrays=str(self.arrays),
                logit=self.logit,
                memory=self.memory,
            )["parameters"]
            if parameters != self.parameters:
                raise Failure(f"{parameters} parameters, not {self.parameters}")
        except Failure:
            process.close()
            raise
        return process

    def subset(self, n):
        # From all over the kernel, so that no tile goes unseen.
        return np.linspace(0, n - 1, min(n, self.images)).astype(int).tolist()

    def kernel(self, process, setting, n, limit):
        """The answer, and the kernel of the subset."""
        out = self.folder / "kernel.npy"
        answer = process.ask(
            limit,
            do="kernel",
            arrays=str(self.arrays),
            n=n,
            setting=setting,
            subset=self.subset(n),
            out=str(out),
        )
        return answer, np.load(out)

    def reference(self, process):
        out = self.folder / "reference.npy"
        process.ask(
            1800,
            do="reference",
            arrays=str(self.arrays),
            subset=self.subset(self.n),
            out=str(out),
        )
        return np.load(out)

    def shapes(self):
        """Of the products whose rate counts."""
        widest = networks.operation_counts(self.model, self.logits)[2]
        return [(3072, 3072), (min(self.n, 1024), widest)]

    def counts(self):
        return networks.operation_counts(self.model, self.logits)[:2]


class Contender:
    """A name, how its process starts, and the settings that it may choose from.

    `families(n)` yields `(family, settings, trial size, warm-up size)`: within a
    family the fastest at the trial size goes into the rounds, at full size.
    """

    def __init__(self, name, script, python, environment, families, exceptions=None):
        self.name = name
        self.exceptions = exceptions or {}  # environments for some networks
        self.command = [python, str(PEERS / script)]
        self.environment = environment
        self.families = families


def contenders(args):
    def ours(backend):
        return Contender(
            f"ours, {backend}",
            "ours.py",
            sys.executable,
            {"KERAS_BACKEND": backend},
            lambda n, k: [("default", [{}], n, n)],
        )

    def tangents(n, k):
        yield (
            "unbatched",
            [{"implementation": i, "tile": 0, "lower": False} for i in (3, 2, 1)],
            n,
            n,
        )
        # Tiles are alike, so that a part of them tells which are best.
        some = min(n, max(TILES))
        for family, lower in (("nt.batch", False), ("lower tiles", True)):
            yield (
                family,
                [
                    {"implementation": i, "tile": t, "lower": lower}
                    for i in (3, 2, 1)
                    for t in TILES
                    if t < n and n % t == 0
                ],
                some,
                some,
            )

    def chunks(n, k):
        settings = [
            {"chunk": c, "together": together}
            for c in (0, 8, 32, 128)
            for together in (True, False)[: min(k, 2)]
        ]
        yield "chunked", settings, min(n, 128), min(n, 128)

    def gram(n, k):
        yield "unbatched", [{"batch": 0, "unfold": u} for u in (True, False)], n, n
        some = min(n, 1024)
        batched = [
            {"batch": b, "unfold": u} for u in (True, False) for b in TILES if b < some
        ]
        yield "batched", batched, some, min(n, 512)

    made = {b: ours(b) for b in ("jax", "tensorflow", "torch")}
    made["torch.func"] = Contender(
        "torch.func", "torch_func.py", sys.executable, {}, chunks
    )
    if args.neural_tangents_python:
        made["neural-tangents"] = Contender(
            "neural-tangents",
            "jax_neural_tangents.py",
            args.neural_tangents_python,
            {"JAX_PLATFORMS": "cpu"},
            tangents,
            # This jaxlib ends there with "could not append a binary post-op".
            {
                "mobilenet_v3_0_35": {
                    "XLA_FLAGS": "--xla_disable_hlo_passes=onednn-matmul-rewriter"
                }
            },
        )
    if args.nngeometry_python:
        made["nngeometry"] = Contender(
            "nngeometry", "torch_nngeometry.py", args.nngeometry_python, {}, gram
        )
    unknown = set(args.contenders or ()) - set(made)
    if unknown:
        raise SystemExit(
            f"`--contenders` must be among {', '.join(made)} (the last two only with "
            f"their `--...-python`). Received: {', '.join(sorted(unknown))}"
        )
    return [made[c] for c in args.contenders or made]


class Finalist:
    """A contender with its best setting of a family, its process and its figures."""

    def __init__(self, contender, family, setting, process):
        self.contender, self.family, self.setting = contender, family, setting
        self.process = process
        self.seconds, self.errors, self.peak = [], [], 0


def tune(workload, contender, args, failures):
    """The finalists of a contender: the fastest setting of each family."""
    finalists = []
    for family, settings, size, warm in contender.families(workload.n, workload.logits):
        best, shortest = None, math.inf
        for setting in settings:
            # Whoever takes five times as long as another is not the best.
            limit = min(args.limit, 60 + 5 * shortest) if best else args.limit
            process = None
            try:
                process = workload.start(contender)
                # The first time compiles.
                first = min(args.limit, 300 + limit) if best else args.limit
                answer, _ = workload.kernel(process, setting, warm, first)
                if len(settings) > 1:
                    answer, _ = workload.kernel(process, setting, size, limit)
                    if answer["seconds"] < 10:
                        again, _ = workload.kernel(process, setting, size, limit)
                        answer = min(answer, again, key=lambda a: a["seconds"])
            except Failure as failure:
                if process:
                    process.close()
                failures.append((contender.name, family, setting, str(failure)))
                log(f"  {contender.name} {family} {setting}: {failure}")
                continue
            log(f"  {contender.name} {family} {setting}: {answer['seconds']:.3f} s")
            if answer["seconds"] < shortest:
                if best:
                    best.process.close()
                shortest = answer["seconds"]
                best = Finalist(contender, family, setting, process)
            else:
                process.close()
        if best:
            finalists.append(best)
    return finalists


def own_rate(m, k):
    a = np.random.default_rng(0).standard_normal((m, k), dtype="float32").T
    out = np.zeros((m, m), "float32", order="F")
    return worker.best_rate(
        lambda: blas.sgemm(1.0, a, a, c=out, trans_a=1, overwrite_c=1), m, k
    )


def log(text):
    print(text, file=sys.stderr, flush=True)


def measure(name, n, args):
    """Figures of each finalist, as dictionaries, and what failed."""
    log(f"{name}, n = {n}")
    failures, rates = [], collections.defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        workload = Workload(name, n, folder, int(args.memory * 2**30), args.images)
        finalists = []
        for contender in contenders(args):
            finalists += tune(workload, contender, args, failures)
        judge = workload.start(
            Contender("reference", "torch_func.py", sys.executable, {}, None)
        )
        for turn in range(args.repeats):
            workload.draw(turn + 1)
            reference = workload.reference(judge)
            rates["scipy"].append(max(own_rate(m, k) for m, k in workload.shapes()))
            shapes = workload.shapes()
            rates["torch"].append(judge.ask(600, do="rate", shapes=shapes)["rate"])
            # Who comes first changes too.
            for i in range(len(finalists)):
                finalist = finalists[(turn + i) % len(finalists)]
                if not finalist.process:
                    continue
                try:
                    answer, kernel = workload.kernel(
                        finalist.process, finalist.setting, n, args.limit
                    )
                except Failure as failure:
                    finalist.process.close()
                    finalist.process = None
                    failures.append(
                        (
                            finalist.contender.name,
                            finalist.family,
                            finalist.setting,
                            str(failure),
                        )
                    )
                    log(f"  {failures[-1]}")
                    continue
                finalist.seconds.append(answer["seconds"])
                finalist.peak = max(finalist.peak, answer["peak"])
                finalist.errors.append(
                    np.linalg.norm(kernel - reference) / np.linalg.norm(reference)
                )
            log(f"  round {turn + 1} of {args.repeats}")
        judge.close()
        rate = max(statistics.median(r) for r in rates.values())
        products, passes = workload.counts()
        floor = (products * n**2 + passes * n) / rate
        rows = []
        for finalist in finalists:
            versions = finalist.process.versions if finalist.process else {}
            if finalist.process:
                finalist.process.close()
            if len(finalist.seconds) < args.repeats:
                continue
            seconds = statistics.median(finalist.seconds)
            rows.append(
                {
                    "workload": name,
                    "n": n,
                    "contender": finalist.contender.name,
                    "family": finalist.family,
                    "setting": finalist.setting,
                    "seconds": seconds,
                    "all_seconds": finalist.seconds,
                    "share_of_floor": floor / seconds,
                    "error": float(max(finalist.errors)),
                    "peak_bytes": finalist.peak,
                    "floor_seconds": floor,
                    "operations": {"n^2": products, "n": passes},
                    "rate": rate,
                    "rates": {k: statistics.median(v) for k, v in rates.items()},
                    "versions": versions,
                    "machine": machine(),
                    "memory": args.memory,
                }
            )
    rows += [
        {
            "workload": name,
            "n": n,
            "contender": who,
            "family": family,
            "setting": setting,
            "failure": why,
        }
        for who, family, setting, why in failures
    ]
    return rows


def machine():
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"


def describe(setting):
    return ", ".join(f"{k} {v}" for k, v in setting.items() if v is not False) or "auto"


def show(rows):
    """One workload at one size, as Markdown."""
    timed = sorted((r for r in rows if "seconds" in r), key=lambda r: r["seconds"])
    failed = [r for r in rows if "failure" in r]
    if timed:
        row = timed[0]
        first = next((r for r in timed if r["contender"] == "ours, jax"), timed[0])
        floor, rate = row["floor_seconds"], row["rate"] / 1e9
        operations = row["operations"]
        print(
            f"\n### {row['workload']}, n = {row['n']}\n\n"
            f"Floor {floor:.3g} s: {operations['n^2']:,} n^2 + "
            f"{operations['n'] / 1e6:.4g} million an example, at {rate:.1f} GFLOP/s. "
            f"Cap {row['memory']:g} GiB.\n"
        )
        print(
            "| contender | setting | seconds (range) | share of floor | "
            f"times {first['contender']} | error | peak, GiB |"
        )
        print("|---|---|---|---|---|---|---|")
        for r in timed:
            low, high = min(r["all_seconds"]), max(r["all_seconds"])
            print(
                f"| {r['contender']} | {r['family']}: {describe(r['setting'])} | "
                f"{r['seconds']:.3g} ({low:.3g} to {high:.3g}) | "
                f"{r['share_of_floor']:.0%} | {r['seconds'] / first['seconds']:.2f} | "
                f"{r['error']:.1e} | {r['peak_bytes'] / 2**30:.2f} |"
            )
    if failed:
        print()
    for r in failed:
        print(
            f"- {r['workload']}, n = {r['n']}: {r['contender']}, {r['family']}: "
            f"{describe(r['setting'])}: {r['failure']}"
        )
    sys.stdout.flush()


def show_growth(rows):
    times = collections.defaultdict(dict)
    for r in rows:
        if "seconds" in r and r["contender"].startswith("ours"):
            times[r["workload"], r["contender"]][r["n"]] = r["seconds"]
    for (workload, contender), by_n in times.items():
        low, high = min(by_n), max(by_n)
        if high >= 4 * low:
            power = math.log(by_n[high] / by_n[low]) / math.log(high / low)
            print(
                f"\n{workload}, {contender}: grows as n^{power:.2f} from {low} to "
                f"{high} examples."
            )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=WORKLOADS)
    parser.add_argument("--n", nargs="+", type=int, help="default: each workload's")
    parser.add_argument(
        "--contenders",
        nargs="+",
        metavar="NAME",
        help="of jax, tensorflow, torch, torch.func, neural-tangents, nngeometry",
    )
    parser.add_argument("--repeats", type=int, default=5, help="rounds")
    parser.add_argument("--memory", type=float, default=8, help="GiB a process")
    parser.add_argument("--limit", type=float, default=3600, help="seconds a kernel")
    parser.add_argument("--images", type=int, default=64, help="for the error")
    parser.add_argument("--neural-tangents-python", metavar="PATH")
    parser.add_argument("--nngeometry-python", metavar="PATH")
    parser.add_argument("--out", type=Path, help="JSON lines are added to it")
    args = parser.parse_args()
    contenders(args)
    print(f"{machine()}; medians of {args.repeats} rounds.")
    rows = []
    for name in args.workloads:
        for n in args.n or WORKLOADS[name][2]:
            new = measure(name, n, args)
            if args.out:
                with args.out.open("a") as file:
                    file.writelines(json.dumps(r) + "\n" for r in new)
            show(new)
            rows += new
    show_growth(rows)


if __name__ == "__main__":
    main()
