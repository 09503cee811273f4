"""The Jacobians of all models, in a process of their own: `python ... RESULT.npz`."""

import os
import sys

if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from float64 import float64_scope
from jacobian_oracle import jacobian
from ntk_models import CASES, build, inputs_for
from ntk_networks import NETWORKS, examples, network


def jacobian_of(name):
    """Of the float64 model of a case or network, at its first inputs."""
    if name in NETWORKS:
        with float64_scope():
            return jacobian(network(name), examples(name, 3))
    model, spec = build(name)
    with float64_scope():
        return jacobian(model, inputs_for(spec, 5))


if __name__ == "__main__":
    path, *names = sys.argv[1:]
    names = [name for name in names if name in CASES or name in NETWORKS]
    np.savez(path, **{name: jacobian_of(name) for name in names})
