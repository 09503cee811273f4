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
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "jax")

sys.path.insert(0, str(Path(__file__).parent / "ntk_peers"))

from contenders import contenders
from rounds import measure
from tables import machine, show, show_growth
from workloads import WORKLOADS


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
