"""Which kind an output is: what is certain, and what is not."""

import keras
import numpy as np
import pytest

from keras_kd.losses import LabelSmoothingCrossentropy
from keras_kd.outputs import (
    check_last_activation,
    check_output_kind,
    declared_kinds,
    inferred_kinds,
    output_names,
)
from keras_kd.outputs.activation import last_activations

losses = keras.losses


def head(last, units=3):
    inputs = keras.Input((4,))
    return keras.Model(inputs, last(keras.layers.Dense(units)(inputs)))


def names_of(kinds):
    return [kind and kind.NAME for kind in kinds]


OF_LOSSES = {
    "sparse_categorical_crossentropy": "categorical",
    "categorical_crossentropy": "categorical",
    "kl_divergence": "categorical",
    "binary_crossentropy": "bernoulli",
    "mse": "continuous",
    "mae": "continuous",
    "huber": "continuous",
    losses.SparseCategoricalCrossentropy(from_logits=True): "categorical",
    losses.CategoricalFocalCrossentropy(from_logits=True): "categorical",
    losses.BinaryCrossentropy(from_logits=True): "bernoulli",
    losses.BinaryFocalCrossentropy(from_logits=True): "bernoulli",
    losses.MeanSquaredError(): "continuous",
    losses.LogCosh(): "continuous",
    losses.mean_absolute_error: "continuous",
    LabelSmoothingCrossentropy(): "categorical",
    "hinge": None,
    losses.CosineSimilarity(): None,
    (lambda y, p: p): None,
}


@pytest.mark.parametrize("loss", OF_LOSSES, ids=str)
def test_what_losses_say(loss):
    assert names_of(inferred_kinds(["a"], [], [loss])) == [OF_LOSSES[loss]]


def test_losses_of_several_outputs():
    names = ["box", "label"]
    named = {"box": "mse", "label": losses.BinaryCrossentropy()}
    kinds = ["continuous", "bernoulli"]
    assert names_of(inferred_kinds(names, [], [named])) == kinds
    assert names_of(inferred_kinds(names, [], [list(named.values())])) == kinds
    assert names_of(inferred_kinds(names, [], ["mse"])) == ["continuous"] * 2
    assert names_of(inferred_kinds(names, [], [{"box": "mse"}])) == ["continuous", None]


class Nested(keras.layers.Layer):
    def call(self, x):
        return x


# The operations behind a Dense layer, and what the model then ends in.
ENDINGS = {
    "softmax layer": (keras.layers.Softmax(), "softmax"),
    "softmax function": (keras.ops.softmax, "softmax"),
    "sigmoid function": (keras.ops.sigmoid, "sigmoid"),
    "activation": (keras.layers.Activation("sigmoid"), "sigmoid"),
    "reshaped": (
        lambda x: keras.layers.Reshape((3, 1))(keras.layers.Softmax()(x)),
        "softmax",
    ),
    "reshaped by function": (
        lambda x: keras.ops.reshape(keras.ops.softmax(x), (-1, 3, 1)),
        "softmax",
    ),
    "cast": (
        lambda x: keras.layers.Activation("linear", dtype="float32")(
            keras.layers.Softmax()(x)
        ),
        "softmax",
    ),
    "nested": (
        lambda x: keras.Sequential([keras.Input((3,)), keras.layers.Softmax()])(x),
        "softmax",
    ),
    "dense": (lambda x: keras.layers.Dense(2)(x), "linear"),
    "own layer": (lambda x: Nested()(x), None),
}


@pytest.mark.parametrize("name", ENDINGS)
def test_last_activations(name):
    last, activation = ENDINGS[name]
    assert last_activations(head(last)) == [activation]


def test_a_softmax_is_believed_before_a_loss_and_a_sigmoid_after():
    softmax, sigmoid = head(keras.ops.softmax), head(keras.ops.sigmoid)
    assert names_of(inferred_kinds(["a"], [softmax], ["mse"])) == ["categorical"]
    assert names_of(inferred_kinds(["a"], [sigmoid], ["mse"])) == ["continuous"]
    assert names_of(inferred_kinds(["a"], [sigmoid], [None])) == ["bernoulli"]
    linear = head(keras.layers.Dense(2))
    assert names_of(inferred_kinds(["a"], [linear], [])) == [None]


def test_declared():
    names = ["box", "label"]
    assert names_of(declared_kinds("bernoulli", names)) == ["bernoulli"] * 2
    assert names_of(declared_kinds({"box": "continuous"}, names)) == [
        "continuous",
        None,
    ]
    assert names_of(declared_kinds(["continuous", "categorical"], names)) == [
        "continuous",
        "categorical",
    ]
    with pytest.raises(ValueError, match=r"must name outputs.*\['class'\]"):
        declared_kinds({"class": "categorical"}, names)
    with pytest.raises(ValueError, match=r"2 outputs\. Received: 1 kinds"):
        declared_kinds(["categorical"], names)


@pytest.mark.wrong_input
@pytest.mark.parametrize(
    "wrong", ["softmax", "", 3, {"a": "softmax"}, ["categorical", 1], np.zeros(2)]
)
def test_what_is_no_kind(wrong):
    with pytest.raises(ValueError, match="`output_kind` must be one of"):
        check_output_kind(wrong)


def test_output_names():
    inputs = keras.Input((4,))
    heads = {
        "b": keras.layers.Dense(2, name="x")(inputs),
        "a": keras.layers.Dense(1, name="y")(inputs),
    }
    model = keras.Model(inputs, heads)
    assert output_names(model, model(np.zeros((1, 4)))) == ["a", "b"]
    one = keras.Model(inputs, heads["a"])
    assert output_names(one, one.output) == ["y"]


@pytest.mark.wrong_input
@pytest.mark.parametrize(
    ("last", "kind"),
    [
        (keras.ops.softmax, "bernoulli"),
        (keras.ops.softmax, "continuous"),
        (keras.ops.sigmoid, "categorical"),
    ],
)
def test_a_kind_that_the_last_activation_contradicts(last, kind):
    model = head(last)
    kinds = declared_kinds(kind, ["a"])
    with pytest.raises(ValueError, match=f"output_kind='{kind}', but model"):
        check_last_activation(model, "probabilities", "teacher_outputs", kinds)


@pytest.mark.wrong_input
def test_values_between_0_and_1_have_no_form():
    model = head(keras.ops.sigmoid)
    with pytest.raises(ValueError, match="output_kind='continuous' if these are"):
        check_last_activation(model, "logits", "teacher_outputs")
    kinds = declared_kinds("continuous", ["a"])
    check_last_activation(model, "logits", "teacher_outputs", kinds)
