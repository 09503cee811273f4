"""The examples in the docstrings run."""

import doctest
import importlib
import pkgutil

import pytest

from keras_kd import complexity

MODULES = [module.name for module in pkgutil.iter_modules(complexity.__path__)]
FUNCTIONS = [name for name in complexity.__all__ if name.islower()]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    module = importlib.import_module(f"keras_kd.complexity.{name}")
    failed, _ = doctest.testmod(module)
    assert failed == 0


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_public_function_has_an_example_and_a_source(name):
    doc = getattr(complexity, name).__doc__
    assert ">>> " in doc
    assert "Source: " in doc
