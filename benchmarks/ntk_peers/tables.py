"""The figures as Markdown."""

import collections
import math
import os
import platform
import sys


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
