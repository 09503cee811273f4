"""Importing the library costs little and brings in no other backend."""

import json
import os
import subprocess
import sys

import keras

PROBE = """
import json, sys, time
import keras
before = set(sys.modules)
import keras_kd
new = set(sys.modules) - before
print(json.dumps(sorted({name.split(".")[0] for name in new})))
print(json.dumps([m for m in ("tensorflow", "jax", "torch") if m in sys.modules]))
"""


def test_import_brings_in_no_other_backend():
    run = subprocess.run(
        [sys.executable, "-c", PROBE],
        capture_output=True,
        text=True,
        env=os.environ,
        check=True,
    )
    new, backends = map(json.loads, run.stdout.strip().splitlines()[-2:])
    backend = keras.backend.backend()
    assert backend in backends
    if backend != "tensorflow":
        assert "tensorflow" not in backends
    heavy = {"matplotlib", "tensorflow_datasets", "sklearn", "keras_cv", "pandas"}
    assert not heavy & set(new)
