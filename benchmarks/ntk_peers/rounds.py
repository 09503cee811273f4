"""Each contender's best settings, and the rounds in which they take turns."""

import collections
import math
import statistics
import sys
import tempfile

import numpy as np
import worker
from contenders import Contender, contenders
from processes import Failure
from scipy.linalg import blas
from tables import machine
from workloads import Workload


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
