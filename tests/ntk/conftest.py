import fcntl
import hashlib
import importlib.metadata
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

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
def oracle(pytestconfig):
    """`oracle(name)`: the Jacobian of a case or network, from another process.

    It runs PyTorch, if that is there: it needs no compilation, and is mostly not what
    the library runs on here. What it has found serves the runs of the other backends,
    until something that it depends on changes.
    """
    backend = "torch" if importlib.util.find_spec("torch") else BACKEND
    folder = pytestconfig.cache.mkdir("ntk_oracle")
    path = folder / f"{_oracle_depends_on(backend)}.npz"
    with open(folder / "lock", "w") as lock:
        # Of two runs, one finds the Jacobians and the other waits for them.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            for outdated in folder.glob("*.npz"):
                outdated.unlink()
            unfinished = folder / "unfinished.npz"
            _run_oracle(backend, unfinished)
            os.replace(unfinished, path)
    with np.load(path) as file:
        known = dict(file)

    def find(name, here=False):
        # Keras does not run all of them there.
        if here or name not in known:
            known[name] = importlib.import_module("oracle_of_cases").jacobian_of(name)
        return known[name]

    return find


def _run_oracle(backend, path):
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


def _oracle_depends_on(backend):
    """A digest of the tests' models, the names asked for, and what runs them."""
    tests = Path(__file__).parent
    library = tests.parents[1] / "keras_kd"
    files = [*tests.glob("*.py"), *library.rglob("*.py"), tests.parent / "float64.py"]
    versions = [
        # Of the environment: what is laid over it comes first.
        list(importlib.metadata.distributions(name=name))[-1].version
        for name in ("keras", backend, "numpy")
    ]
    digest = hashlib.sha256(repr((backend, versions, *CASES, *NETWORKS)).encode())
    for file in sorted(files):
        digest.update(file.read_bytes())
    return digest.hexdigest()
