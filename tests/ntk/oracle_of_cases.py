"""The Jacobians of all cases, in a process of their own: `python ... RESULT.npz`."""

import os
import sys

if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from jacobian_oracle import jacobian
from ntk_float64 import float64_scope
from ntk_models import CASES, build, inputs_for


def jacobian_of_case(name, n):
    """Of the float64 model of a case at its first `n` inputs."""
    model, spec = build(name)
    with float64_scope():
        return jacobian(model, inputs_for(spec, n))


if __name__ == "__main__":
    path, n, *names = sys.argv[1:]
    known = {name: jacobian_of_case(name, int(n)) for name in names if name in CASES}
    np.savez(path, **known)
