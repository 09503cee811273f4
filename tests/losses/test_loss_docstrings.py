"""The examples in the docstrings run."""

import doctest
import importlib
import pkgutil

import keras
import numpy as np
import pytest

from keras_kd import losses

MODULES = [module.name for module in pkgutil.iter_modules(losses.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    module = importlib.import_module(f"keras_kd.losses.{name}")
    failed, _ = doctest.testmod(module, extraglobs={"np": np, "keras": keras})
    assert failed == 0


@pytest.mark.parametrize("name", losses.__all__)
def test_every_public_loss_has_an_example_and_a_source(name):
    doc = getattr(losses, name).__doc__
    assert ">>> " in doc
    assert "Source: " in doc
