"""The examples in the docstrings run."""

import doctest
import importlib
import pkgutil

import pytest

from keras_kd import complexity

PREFIX = "keras_kd.complexity."
MODULES = [
    module.name.removeprefix(PREFIX)
    for module in pkgutil.walk_packages(complexity.__path__, PREFIX)
]
FUNCTIONS = [name for name in complexity.__all__ if name.islower()]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    module = importlib.import_module(PREFIX + name)
    failed, _ = doctest.testmod(module)
    assert failed == 0


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_public_function_has_an_example_and_a_source(name):
    doc = getattr(complexity, name).__doc__
    assert ">>> " in doc
    assert "Source: " in doc
