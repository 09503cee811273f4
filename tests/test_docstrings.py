"""The examples in the docstrings run, of all modules that have some."""

import doctest
import importlib
import pkgutil
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_kd
from keras_kd import complexity, losses


def source(module: pkgutil.ModuleInfo) -> str:
    """The text of a module, which is not imported: some need another backend."""
    *folders, name = module.name.split(".")[1:]
    place = Path(keras_kd.__path__[0], *folders, name)
    return (place / "__init__.py" if module.ispkg else Path(f"{place}.py")).read_text()


def walk(path, prefix):
    """All modules; `pkgutil.walk_packages` would import the packages among them."""
    for module in pkgutil.iter_modules(path, prefix):
        yield module
        if module.ispkg:
            inner = [str(Path(p, module.name.rpartition(".")[2])) for p in path]
            yield from walk(inner, f"{module.name}.")


WITH_EXAMPLES = [
    module.name
    for module in walk(keras_kd.__path__, "keras_kd.")
    if ">>> " in source(module)
]


def test_they_are_found_in_all_packages():
    packages = {name.split(".")[1] for name in WITH_EXAMPLES}
    assert packages >= {"complexity", "datasets", "losses", "metrics", "ntk"}
    assert "keras_kd.complexity.solvers.cholesky" in WITH_EXAMPLES


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples(name):
    module = importlib.import_module(name)
    failed, attempted = doctest.testmod(module, extraglobs={"np": np, "keras": keras})
    assert failed == 0
    assert attempted > 0


@pytest.mark.parametrize(
    ("package", "name"),
    [
        *((losses, name) for name in losses.__all__),
        *((complexity, name) for name in complexity.__all__ if name.islower()),
    ],
)
def test_every_loss_and_measure_has_an_example_and_a_source(package, name):
    doc = getattr(package, name).__doc__
    assert ">>> " in doc
    assert "Source: " in doc
