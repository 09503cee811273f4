"""Taps read layers in one ordinary pass and leave no trace."""

import threading

import keras
import numpy as np
import pytest
from keras import ops

from keras_kd.forward import find_layer, output_shapes, tapping


def backbone():
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3, name="conv1"),
            keras.layers.Conv2D(5, 3, name="conv2"),
        ],
        name="backbone",
    )


def nested():
    inputs = keras.Input((8, 8, 3))
    x = backbone()(inputs)
    x = keras.layers.Flatten(name="flat")(x)
    return keras.Model(inputs, keras.layers.Dense(3, name="head")(x), name="nested")


class Block(keras.layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = keras.layers.Dense(4)

    def call(self, x):
        return ops.relu(self.inner(x))


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__(name="subclassed")
        self.block = Block(name="the_block")
        self.twice = keras.layers.Dense(4, name="twice")
        self.unused = keras.layers.Dense(4, name="unused")

    def call(self, x):
        return self.twice(self.twice(self.block(x)))


def numpy(x):
    return ops.convert_to_numpy(x)


def test_taps_equal_a_model_of_the_features():
    model = nested()
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
    paths = ["backbone", "backbone/conv1", "backbone/conv2", "flat", "head"]
    layers = {path: find_layer(model, path) for path in paths}
    with tapping(layers.values()) as taps:
        outputs = model(x)
    inner = model.get_layer("backbone")
    conv1 = keras.Model(inner.inputs, inner.get_layer("conv1").output)(x)
    conv2 = inner(x)
    np.testing.assert_allclose(
        numpy(taps.output(layers["backbone/conv1"])), numpy(conv1), rtol=1e-6
    )
    for path in ("backbone", "backbone/conv2"):
        np.testing.assert_allclose(
            numpy(taps.output(layers[path])), numpy(conv2), rtol=1e-6
        )
    (call,) = taps.calls(layers["backbone/conv2"])
    np.testing.assert_allclose(numpy(call.inputs), numpy(conv1), rtol=1e-6)
    np.testing.assert_allclose(
        numpy(taps.output(layers["head"])), numpy(outputs), rtol=1e-6
    )


def test_subclassed_models_by_name_and_by_attribute():
    model = Subclassed()
    x = np.ones((2, 3), "float32")
    model(x)
    inner = find_layer(model, "the_block/inner")
    assert inner is model.block.inner
    assert find_layer(model, "block/inner") is inner
    with tapping([inner, model.block]) as taps:
        model(x)
    np.testing.assert_allclose(
        numpy(taps.output(model.block)), np.maximum(numpy(taps.output(inner)), 0)
    )


@pytest.mark.wrong_input
def test_a_layer_called_twice_or_never_is_refused():
    model = Subclassed()
    x = np.ones((2, 3), "float32")
    model(x)
    with tapping([model.twice, model.unused]) as taps:
        model(x)
    assert len(taps.calls(model.twice)) == 2
    with pytest.raises(ValueError, match="'twice', called 2 times"):
        taps.output(model.twice)
    with pytest.raises(ValueError, match="'unused', called 0 times"):
        taps.output(model.unused)


def test_nothing_is_left_behind():
    model = nested()
    layers = [find_layer(model, "backbone/conv1"), find_layer(model, "head")]

    def fail():
        with tapping(layers):
            with tapping(layers):
                model(np.ones((1, 8, 8, 3), "float32"))
            assert all("call" in layer.__dict__ for layer in layers)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert all("call" not in layer.__dict__ for layer in layers)


def test_threads_do_not_mix():
    model = nested()
    layer = find_layer(model, "head")
    barrier = threading.Barrier(2)
    seen = {}

    def run(value):
        x = np.full((1, 8, 8, 3), value, "float32")
        with tapping([layer]) as taps:
            barrier.wait()
            outputs = model(x)
            barrier.wait()
            seen[value] = numpy(taps.output(layer)), numpy(outputs)

    threads = [threading.Thread(target=run, args=(v,)) for v in (1.0, 2.0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 2
    for tapped, outputs in seen.values():
        np.testing.assert_array_equal(tapped, outputs)
    assert "call" not in layer.__dict__


def test_shapes_are_found_without_side_effects():
    assert output_shapes(nested(), ["backbone/conv1", "head"]) == {
        "backbone/conv1": (1, 6, 6, 4),
        "head": (1, 3),
    }
    model = Subclassed()
    with pytest.raises(ValueError, match="input shape of model 'subclassed'"):
        output_shapes(model, ["block"])
    model(np.ones((2, 3), "float32"))
    assert output_shapes(model, ["block"]) == {"block": (1, 4)}


class OfTokens(keras.Model):
    """A subclassed model of a dictionary, with layers in a list and in a dict."""

    def __init__(self, width=4, **kwargs):
        super().__init__(**kwargs)
        self.embed = keras.layers.Embedding(9, width)
        self.blocks = [keras.layers.Dense(width + i) for i in range(2)]
        self.heads = {"one": keras.layers.Dense(3)}

    def call(self, inputs):
        mask = inputs["padding_mask"][..., None]
        x = self.embed(inputs["token_ids"])
        x = ops.where(mask, x, ops.zeros_like(x))  # a mask of floats will not do
        for block in self.blocks:
            x = block(x)
        return self.heads["one"](ops.mean(x, axis=1))


def tokens(n=8, length=5):
    rng = np.random.default_rng(0)
    return {
        "token_ids": rng.integers(0, 9, (n, length)).astype("int32"),
        "padding_mask": np.ones((n, length), bool),
    }


def test_layers_in_lists_and_dicts():
    model = OfTokens()
    model(tokens())
    assert find_layer(model, "blocks/0") is model.blocks[0]
    assert find_layer(model, "blocks/-1") is model.blocks[1]
    assert find_layer(model, "heads/one") is model.heads["one"]
    for path in ("blocks", "blocks/2", "blocks/-3", "blocks/one", "heads/two"):
        with pytest.raises(ValueError, match=f"no layer '{path}'"):
            find_layer(model, path)


def test_shapes_of_subclassed_models_of_structures():
    model = OfTokens()
    model(tokens())
    assert output_shapes(model, ["blocks/0", "blocks/1"]) == {
        "blocks/0": (1, 5, 4),
        "blocks/1": (1, 5, 5),
    }

    class OfTwo(keras.Model):
        def __init__(self):
            super().__init__()
            self.mix = keras.layers.Dense(3)

        def call(self, inputs):
            return self.mix(ops.concatenate(inputs, axis=-1))

    model = OfTwo()
    model([np.ones((2, 4), "float32"), np.ones((2, 2), "float32")])
    assert output_shapes(model, ["mix"]) == {"mix": (1, 3)}


class Positions(keras.layers.Layer):
    """A position embedding as KerasHub's: it has so many places and no more."""

    def build(self, shape):
        self.table = self.add_weight(shape=(10, shape[-1]))

    def call(self, x):
        return x + self.table[: ops.shape(x)[1]]

    def compute_output_spec(self, x):
        return keras.KerasTensor(x.shape, x.dtype)


def test_open_dimensions_are_of_a_size_that_the_model_takes():
    ids = keras.Input((None,), dtype="int32")
    x = Positions(name="positions")(keras.layers.Embedding(9, 4)(ids))
    model = keras.Model(ids, keras.layers.Dense(3)(x))
    _, length, width = output_shapes(model, ["positions"])["positions"]
    assert length <= 10
    assert width == 4

    images = keras.Input((None, None, 1))
    x = images
    for _ in range(6):
        x = keras.layers.MaxPooling2D()(x)
    model = keras.Model(images, keras.layers.Flatten(name="flat")(x[:, :1, :1]))
    assert output_shapes(model, ["flat"]) == {"flat": (1, 1)}


def test_a_model_that_runs_on_no_size_says_why():
    class Broken(keras.layers.Layer):
        def call(self, x):
            if not isinstance(x, keras.KerasTensor):
                raise ArithmeticError("never")
            return x

        def compute_output_spec(self, x):
            return keras.KerasTensor(x.shape, x.dtype)

    inputs = keras.Input((None,))
    model = keras.Model(inputs, Broken(name="broken")(inputs))
    with pytest.raises(ArithmeticError, match="never"):
        output_shapes(model, ["broken"])


def test_a_layer_of_several_tensors_has_no_shape():
    inputs = keras.Input((5, 3))
    _, state = keras.layers.GRU(4, return_state=True, name="gru")(inputs)
    model = keras.Model(inputs, state, name="reader")
    message = "'gru' in model 'reader', which gives a structure of 2"
    with pytest.raises(ValueError, match=message):
        output_shapes(model, ["gru"])


@pytest.mark.wrong_input
def test_unknown_and_ambiguous_paths():
    with pytest.raises(ValueError, match=r"no layer 'conv1'.*backbone/conv1"):
        find_layer(nested(), "conv1")

    class Twins(keras.Model):
        def __init__(self):
            super().__init__(name="twins")
            self.one = keras.layers.Dense(2, name="same")
            self.two = keras.layers.Dense(2, name="same")

    twins = Twins()
    with pytest.raises(ValueError, match="2 layers named 'same'"):
        find_layer(twins, "same")
    assert find_layer(twins, "two") is twins.two
