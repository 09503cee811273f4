"""No private name of Keras, or of another module, outside `keras_internals.py`."""

import ast
import importlib
import inspect
import pkgutil
from pathlib import Path

import keras

import keras_kd
from keras_kd import keras_internals as internals

# No private name anywhere else

KERAS_SOURCE = "keras" + ".src"


ROOT = Path(__file__).parents[1]


def two_outputs():
    x = keras.Input((3,), name="x")
    a, b = keras.layers.Dense(2, name="a")(x), keras.layers.Dense(2, name="b")(x)
    return keras.Model({"x": x}, {"a": a, "b": b})


def sources(*folders):
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    assert files
    # The file itself, its tests, and these.
    theirs = (Path(internals.__file__), ROOT / "tests" / "test_keras_internals.py")
    return [path for path in files if path not in (*theirs, Path(__file__))]


def names_in(tree):
    """Attributes asked for, by a dot or by a string, and names that are imported."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.ImportFrom):
            yield from (alias.name for alias in node.names)


def private_names():
    tree = ast.parse(Path(internals.__file__).read_text())
    return {
        name
        for name in names_in(tree)
        if name.startswith("_") and name.isidentifier() and not name.startswith("__")
    }


def test_private_names_are_known():
    assert private_names() >= {
        "_aggregate_additional_loss",
        "_call_has_training_arg",
        "_compile_loss",
        "_compile_metrics",
        "_flatten_layers",
        "_functional",
        "_inbound_nodes",
        "_inputs_struct",
        "_keras_history",
        "_outputs_struct",
        "_remat_mode",
        "_trainable_variables",
        "_user_loss_weights",
    }


def test_no_private_name_of_keras_elsewhere():
    private = private_names()
    found = []
    for path in sources("keras_kd", "tests", "benchmarks", "examples"):
        text = path.read_text()
        tree = ast.parse(text)
        used = private & set(names_in(tree))
        if KERAS_SOURCE in text:
            used.add(KERAS_SOURCE)
        found += [f"{path.relative_to(ROOT)}: {name}" for name in sorted(used)]
    assert not found


def test_no_private_attribute_of_keras_objects_elsewhere():
    objects = [keras.layers.Dense(1), two_outputs(), keras.Sequential()]
    objects += [keras.metrics.Mean(), keras.losses.MeanSquaredError()]
    objects += [keras.callbacks.Callback(), keras.optimizers.SGD(), keras.Input((1,))]
    private = {
        name
        for found in objects
        for name in dir(found)
        if name.startswith("_") and not name.startswith("__")
    }
    found = []
    for path in sources("keras_kd"):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Attribute)
                and node.attr in private
                and not (isinstance(node.value, ast.Name) and node.value.id == "self")
            ):
                found.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.attr}")
    assert not found


def test_no_private_method_of_keras_is_overridden():
    found = set()
    for module in pkgutil.walk_packages(keras_kd.__path__, "keras_kd."):
        if module.name.startswith("keras_kd.backend."):
            continue
        for cls in vars(importlib.import_module(module.name)).values():
            if inspect.isclass(cls) and cls.__module__.startswith("keras_kd."):
                found |= set(overridden(cls))
    assert not found


def overridden(cls):
    own = [base for base in cls.__mro__ if base.__module__.startswith("keras_kd.")]
    theirs = [base for base in cls.__mro__ if base.__module__.startswith("keras.")]
    for base in own:
        for name in vars(base):
            if name.startswith("__") or not name.startswith("_"):
                continue
            if any(name in vars(keras_class) for keras_class in theirs):
                yield f"{base.__name__}.{name}"


def test_no_private_name_is_imported_from_another_module():
    found = [
        f"{path.relative_to(ROOT)}: {node.module}.{alias.name}"
        for path in sources("keras_kd")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").startswith("keras_kd")
        for alias in node.names
        if alias.name.startswith("_") and not alias.name.startswith("__")
    ]
    assert not found
