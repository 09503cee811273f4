import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest
from ntk_float64 import float64_scope
from ntk_models import BACKEND, CASES

N = 5


@pytest.fixture(autouse=True)
def cheap():
    """Small models: little compilation, and no threads that wait for each other."""
    if BACKEND == "jax":
        import jax

        jax.config.update("jax_disable_most_optimizations", True)
        yield
        jax.config.update("jax_disable_most_optimizations", False)
    elif BACKEND == "torch":
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(1)
        yield
        torch.set_num_threads(before)
    else:
        yield


@pytest.fixture
def float64():
    """Models built in this test, and numbers made by it, are float64."""
    with float64_scope():
        yield


@pytest.fixture(scope="session")
def other_process():
    """Runs a script of this folder under PyTorch, if it is there.

    It needs no compilation, and is mostly not what the library runs on here.
    """
    backend = "torch" if importlib.util.find_spec("torch") else BACKEND

    def run(*command):
        subprocess.run(
            [sys.executable, *map(str, command)],
            cwd=os.path.dirname(__file__),
            env={**os.environ, "KERAS_BACKEND": backend, "OMP_NUM_THREADS": "1"},
            check=True,
        )

    return run


@pytest.fixture(scope="session")
def oracle(tmp_path_factory, other_process):
    """`oracle(case)`: its Jacobian at `N` inputs, from another process."""
    path = tmp_path_factory.mktemp("oracle") / "jacobians.npz"
    other_process("oracle_of_cases.py", path, N, *CASES)
    with np.load(path) as file:
        known = dict(file)

    def find(name, here=False):
        # Keras does not run all of them there.
        if here or name not in known:
            known[name] = importlib.import_module("oracle_of_cases").jacobian_of_case(
                name, N
            )
        return known[name]

    return find
