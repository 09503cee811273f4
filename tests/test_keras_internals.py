"""Keras's private names are behind one door, and all of them are still there."""

import importlib
import inspect
import io
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras import ops

from keras_kd import keras_internals as internals

ROOT = Path(__file__).parents[1]
MASKING = "keras.src.backend.common.masking"
FUNCTIONS = sorted(
    name
    for name, value in vars(internals).items()
    if inspect.isfunction(value)
    and value.__module__ == internals.__name__
    and not name.startswith("_")
)


class Around(keras.layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(2, name="dense")

    def call(self, x):
        return self.dense(x)


class Scaled(keras.layers.Layer):
    """A layer with a weight of its own, and layers inside of layers."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = Around(name="around")
        self.scale = self.add_weight(shape=(), name="scale")

    def call(self, x):
        return self.inner(x) * self.scale


def two_outputs():
    x = keras.Input((3,), name="x")
    a, b = keras.layers.Dense(2, name="a")(x), keras.layers.Dense(2, name="b")(x)
    return keras.Model({"x": x}, {"a": a, "b": b})


def subclassed():
    class Model(keras.Model):
        def call(self, x):
            return x

    return Model()


def numpy(x):
    return ops.convert_to_numpy(x)


# One check for each function: called with a real object, and what it gives.


def mask_of():
    x = np.float32([[[1], [0]], [[0], [2]]])
    mask = internals.mask_of(keras.layers.Masking()(x))
    np.testing.assert_array_equal(numpy(mask), [[True, False], [False, True]])
    assert internals.mask_of(ops.convert_to_tensor(x)) is None


def set_mask():
    x, mask = ops.ones((2, 3)), ops.convert_to_tensor([[True, False, True]] * 2)
    internals.set_mask(x, mask)
    assert internals.mask_of(x) is mask


def data_adapter():
    x, y = np.arange(10.0), np.arange(10.0) * 2
    adapter = internals.data_adapter(x, y, np.ones(10), batch_size=4)
    assert isinstance(adapter, internals.DataAdapter)
    assert (adapter.num_batches, adapter.partial_batch_size) == (3, 2)
    batches = list(adapter.get_numpy_iterator())
    np.testing.assert_array_equal(np.concatenate([b[0] for b in batches]), x)
    np.testing.assert_array_equal(np.concatenate([b[1] for b in batches]), y)
    # `fit` takes one as it is.
    assert internals.data_adapter(adapter) is adapter


def split_for_validation():
    first, last = internals.split_for_validation((np.arange(8), None), 0.25)
    np.testing.assert_array_equal(first[0], np.arange(6))
    np.testing.assert_array_equal(last[0], [6, 7])
    assert first[1] is None
    assert last[1] is None


def compiled_loss():
    model = two_outputs()
    assert internals.compiled_loss(model) is None
    model.compile(loss={"a": "mse", "b": "mse"}, loss_weights={"a": 1.0, "b": 10.0})
    zeros = {"a": np.zeros((4, 2)), "b": np.zeros((4, 2))}
    ones = {"a": np.ones((4, 2)), "b": np.ones((4, 2))}
    loss = internals.compiled_loss(model)
    assert float(loss(zeros, ones)) == pytest.approx(11)
    assert loss.metrics


def another_compiled_loss():
    model = two_outputs()
    model.compile(loss=["mse", "mse"], loss_weights=[1.0, 10.0])
    first = internals.compiled_loss(model)
    second = internals.another_compiled_loss(model, ["a", "b"])
    assert type(second) is type(first)
    assert second is not first
    zeros, ones = [np.zeros((4, 2))] * 2, [np.ones((4, 2))] * 2
    assert float(second(zeros, ones)) == pytest.approx(11)
    # Of another model's outputs, one alone too.
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    model.compile(loss="mse")
    assert float(
        internals.another_compiled_loss(model, None)(zeros[0], ones[0])
    ) == pytest.approx(1)


def compiled_metrics():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    model.compile(loss="mse")
    assert internals.compiled_metrics(model) is None
    model.compile(loss="mse", metrics=["mae"])
    metrics = internals.compiled_metrics(model)
    assert not metrics.built
    metrics.update_state(np.zeros((4, 2)), np.full((4, 2), 3.0))
    assert {k: float(v) for k, v in metrics.result().items()} == {"mae": 3.0}


def labels_are_new():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    model.compile(loss="mse", metrics=["mae"])
    assert internals.labels_are_new(model) is True
    model.evaluate(np.zeros((4, 2)), np.zeros((4, 2)), verbose=0)
    assert internals.labels_are_new(model) is False


def build_symbolically():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    model.compile(loss="mse", metrics=["mae"])
    batch = keras.KerasTensor((None, 2), "float32")
    internals.build_symbolically(model, (batch, batch, None))
    assert internals.labels_are_new(model) is False
    assert internals.compiled_metrics(model).built


def additional_loss():
    loss = internals.additional_loss(two_outputs(), ops.convert_to_tensor([1.0, 2.0]))
    assert float(loss) == 3.0


def flatten_layers():
    layer = Scaled(name="scaled")
    layer(np.ones((1, 3)))
    names = [found.name for found in internals.flatten_layers(layer)]
    assert names == ["scaled", "around", "dense"]
    inside = internals.flatten_layers(layer, include_self=False)
    assert [found.name for found in inside] == names[1:]
    children = internals.flatten_layers(layer, include_self=False, recursive=False)
    assert children == [layer.inner]


def own_weights():
    layer = Scaled()
    layer(np.ones((1, 3)))
    (own,) = internals.own_weights(layer)
    assert own is layer.scale
    assert len(layer.trainable_variables) == 3


def takes_training():
    assert internals.takes_training(keras.layers.Dropout(0.5)) is True
    assert internals.takes_training(keras.layers.Flatten()) is False


def is_rematerialized():
    assert internals.is_rematerialized(keras.layers.Dense(1)) is False
    with keras.RematScope("full"):
        assert internals.is_rematerialized(keras.layers.Dense(1)) is True


def is_seed_state():
    model = keras.Sequential([keras.layers.Dropout(0.5), keras.layers.Dense(1)])
    model(np.ones((1, 2)))
    dropout, dense = model.layers
    assert [internals.is_seed_state(v) for v in dropout.variables] == [True]
    assert not any(internals.is_seed_state(v) for v in dense.variables)


def symbolic_inputs():
    model = two_outputs()
    spec = internals.symbolic_inputs(model)
    assert list(spec) == ["x"]
    assert spec["x"] is model.inputs[0]
    sequential = keras.Sequential([keras.layers.Dense(2)])
    assert internals.symbolic_inputs(sequential) is None
    sequential.build((None, 5))
    (tensor,) = keras.tree.flatten(internals.symbolic_inputs(sequential))
    assert tensor.shape == (None, 5)
    assert internals.symbolic_inputs(subclassed()) is None


def symbolic_outputs():
    spec = internals.symbolic_outputs(two_outputs())
    assert {name: tensor.shape for name, tensor in spec.items()} == {
        "a": (None, 2),
        "b": (None, 2),
    }
    sequential = keras.Sequential([keras.Input((5,)), keras.layers.Dense(2)])
    (tensor,) = keras.tree.flatten(internals.symbolic_outputs(sequential))
    assert tensor.shape == (None, 2)
    assert internals.symbolic_outputs(subclassed()) is None


def origin():
    x = keras.Input((3,))
    layer = keras.layers.Dense(3)
    once = layer(x)
    source = internals.origin(layer(once))
    assert source.operation is layer
    assert (source.node_index, source.tensor_index) == (1, 0)


def call_inputs():
    x = keras.Input((3,))
    layer = keras.layers.Dense(3)
    once = layer(x)
    (into,) = internals.call_inputs(internals.origin(layer(once)))
    assert into is once
    (into,) = internals.call_inputs(internals.origin(once))
    assert into is x


def keras_reason():
    config = keras.saving.serialize_keras_object(keras.layers.Dense(3))
    config["config"]["colour"] = "blue"
    model = keras.saving.serialize_keras_object(keras.Sequential([keras.Input((2,))]))
    model["config"]["layers"].append(config)
    with pytest.raises(Exception, match="Exception encountered") as error:
        keras.saving.deserialize_keras_object(model)
    reason = internals.keras_reason(error.value)
    assert "Unrecognized keyword arguments" in reason
    assert "blue" in reason
    assert "config" not in reason
    assert internals.keras_reason(ValueError("two\n words. More.")) == "two words"


def variables_without_values():
    with internals.variables_without_values():
        claimed = keras.Variable("zeros", shape=(10**6, 10**7))
        assert claimed.shape == (10**6, 10**7)
    # Whichever scope ends next gives values to all that wait for theirs.
    with keras.StatelessScope():
        own = keras.Variable("ones", shape=(2,))
    assert claimed._value is None
    np.testing.assert_array_equal(ops.convert_to_numpy(own.value), 1)


def float64_rounding():
    table = internals.float64_rounding()
    if keras.backend.backend() == "tensorflow":
        assert table["float64"] == "float64"
    else:
        assert table["float64"] == "float32"
        assert keras.backend.result_type("float64", float) == "float32"
        table["float64"] = "float64"
        try:
            assert keras.backend.result_type("float64", float) == "float64"
        finally:
            table["float64"] = "float32"


def weights_file():
    """As `save_weights` gives it: the same names, values and nothing else."""
    x = keras.Input((3,))
    normed = keras.layers.BatchNormalization()(keras.layers.Dense(4)(x))
    model = keras.Model(x, keras.layers.Dropout(0.5)(normed))
    theirs = Path(tempfile.mkdtemp()) / "theirs.weights.h5"
    model.save_weights(theirs)

    def content(file):
        found = {}
        with h5py.File(file) as root:
            root.visititems(lambda name, node: found.update({name: value(node)}))
        return found

    def value(node):
        return node[()].tolist() if isinstance(node, h5py.Dataset) else dict(node.attrs)

    ours = content(io.BytesIO(internals.weights_file(model)))
    assert ours == content(theirs)
    assert len(ours) > 6


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_gives_what_it_says(name, monkeypatch):
    function, calls = getattr(internals, name), []

    def counted(*args, **kwargs):
        calls.append(args)
        return function(*args, **kwargs)

    monkeypatch.setattr(internals, name, counted)
    # A function without a check here is a KeyError.
    globals()[name]()
    assert calls


# Where a name is missing


def owner(cls, name):
    return next(base for base in cls.__mro__ if name in vars(base))


@pytest.mark.parametrize(
    ("cls", "name"),
    [
        (keras.layers.Layer, "_flatten_layers"),
        (keras.Model, "_aggregate_additional_loss"),
    ],
)
def test_a_missing_attribute_is_told_at_import(cls, name, monkeypatch):
    while any(name in vars(base) for base in cls.__mro__):
        monkeypatch.delattr(owner(cls, name), name)
    with pytest.raises(ImportError) as error:
        runpy.run_path(internals.__file__)
    assert_told(error.value, name)


@pytest.mark.parametrize("name", ["get_keras_mask", "set_keras_mask"])
def test_a_missing_function_is_told_at_import(name, monkeypatch):
    monkeypatch.delattr(importlib.import_module(MASKING), name)
    with pytest.raises(ImportError) as error:
        runpy.run_path(internals.__file__)
    assert_told(error.value, name)


def test_a_missing_module_is_told_at_import(monkeypatch):
    package, _, name = MASKING.rpartition(".")
    monkeypatch.delattr(importlib.import_module(package), name)
    monkeypatch.setitem(sys.modules, MASKING, None)
    with pytest.raises(ImportError) as error:
        runpy.run_path(internals.__file__)
    assert_told(error.value, "masking")


def assert_told(error, name):
    assert f"Received: Keras {keras.__version__}" in str(error)
    assert "keras_kd works with Keras 3.12 to 3.15 (keras>=3.12)" in str(error)
    assert name in str(error)


@pytest.mark.one_backend
def test_the_whole_package_refuses_such_a_keras():
    code = "import keras; del keras.layers.Layer._flatten_layers; import keras_kd"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ
    )
    assert run.returncode == 1
    last = run.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: keras_kd works with Keras 3.12 to 3.15")


def test_the_versions_named_are_the_versions_tested():
    lowest, highest = internals.WORKING_VERSIONS.removeprefix("Keras ").split(" to ")
    assert f'"keras>={lowest}"' in (ROOT / "pyproject.toml").read_text()
    tested = tuple(map(int, keras.__version__.split(".")[:2]))
    assert as_numbers(lowest) <= tested <= as_numbers(highest)


def as_numbers(version):
    return tuple(map(int, version.split(".")))
