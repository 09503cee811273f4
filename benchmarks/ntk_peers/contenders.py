"""Who is measured, with which settings to choose from."""

import sys
from pathlib import Path

PEERS = Path(__file__).parent
TILES = (128, 256, 512, 1024, 2048)


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
