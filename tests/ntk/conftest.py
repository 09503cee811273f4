import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest
from float64 import float64_scope
from ntk_models import BACKEND, CASES
from ntk_networks import NETWORKS


@pytest.fixture(autouse=True)
def cheap():
    """Small models: no threads that wait for each other."""
    if BACKEND == "torch":
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
def oracle(tmp_path_factory):
    """`oracle(name)`: the Jacobian of a case or network, from another process.

    It runs PyTorch, if that is there: it needs no compilation, and is mostly not what
    the library runs on here.
    """
    backend = "torch" if importlib.util.find_spec("torch") else BACKEND
    path = tmp_path_factory.mktemp("oracle") / "jacobians.npz"
    subprocess.run(
        [sys.executable, "oracle_of_cases.py", str(path), *CASES, *NETWORKS],
        cwd=os.path.dirname(__file__),
        env={
            **os.environ,
            "KERAS_BACKEND": backend,
            "OMP_NUM_THREADS": "1",
            # Where `float64` is. Not what is laid over the environment for these
            # tests: the oracle runs on its Keras.
            "PYTHONPATH": os.path.dirname(os.path.dirname(__file__)),
        },
        check=True,
    )
    with np.load(path) as file:
        known = dict(file)

    def find(name, here=False):
        # Keras does not run all of them there.
        if here or name not in known:
            known[name] = importlib.import_module("oracle_of_cases").jacobian_of(name)
        return known[name]

    return find
