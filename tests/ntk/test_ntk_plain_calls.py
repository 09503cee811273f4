"""Models whose weights are read behind the gradient's back: exact, or refused."""

import contextlib

import keras
import numpy as np
import pytest
from float64 import float64_scope
from jacobian_oracle import jacobian, kernel
from keras import layers, ops
from ntk_models import BACKEND, disturb
from ntk_small import error, numbers

from keras_kd.ntk import NTKOperator, empirical_ntk, ntk_diagonal, ntk_features


@pytest.fixture(autouse=True)
def seeds():
    keras.utils.set_random_seed(0)


@contextlib.contextmanager
def policy(dtype):
    """Models built here compute in `dtype`."""
    with float64_scope() if dtype == "float64" else contextlib.nullcontext():
        yield


class Weighted(layers.Layer):
    """A layer with one kernel, which a subclass reads in its own way."""

    def build(self, shape):
        self.w = self.add_weight(shape=(shape[-1], 3), name="w")


class ByNumPy(Weighted):
    def call(self, x):
        return ops.matmul(x, ops.convert_to_tensor(self.w.numpy()))


class ByArray(Weighted):
    def call(self, x):
        return ops.matmul(x, ops.convert_to_tensor(np.asarray(self.w)))


class ByConversion(Weighted):
    def call(self, x):
        w = ops.convert_to_tensor(ops.convert_to_numpy(self.w))
        return ops.matmul(x, w)


class ByNumPyInPart(Weighted):
    def call(self, x):
        w = ops.convert_to_tensor(self.w.numpy())
        return ops.matmul(x, self.w) + ops.matmul(x, w)


class ByTheValueItself(Weighted):
    def call(self, x):
        return ops.matmul(x, ops.convert_to_tensor(self.w._value))


class ByTheValueInPart(Weighted):
    def call(self, x):
        w = ops.convert_to_tensor(self.w._value)
        return ops.matmul(x, self.w) + 0.01 * ops.matmul(x, w)


def model_of(layer):
    return keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(4, activation="tanh", name="seen"),
            layer,
            layers.Dense(3, name="logits"),
        ]
    )


HIDDEN = (
    ByNumPy,
    ByArray,
    ByConversion,
    ByNumPyInPart,
    ByTheValueItself,
    ByTheValueInPart,
)


@pytest.mark.wrong_input
@pytest.mark.parametrize("cls", HIDDEN, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_weights_read_by_another_way_are_refused(cls, dtype):
    with policy(dtype):
        model = model_of(cls(name="odd"))
        before = model.get_weights()
        with pytest.raises(ValueError, match="`model` must compute with"):
            empirical_ntk(model, numbers(5))
        assert all(map(np.array_equal, before, model.get_weights()))


@pytest.mark.wrong_input
@pytest.mark.parametrize(
    "ask", [ntk_diagonal, NTKOperator, lambda m, x: ntk_features(m, x, 4)]
)
def test_every_way_to_a_kernel_refuses_them(ask):
    model = model_of(ByTheValueItself(name="odd"))
    with pytest.raises(ValueError, match="odd"):
        ask(model, numbers(5))


def test_the_layer_is_named_and_can_be_left_out():
    model = model_of(ByTheValueItself(name="odd"))
    x = numbers(5)
    with pytest.raises(ValueError, match=r"'\S*odd' by a way") as refused:
        empirical_ntk(model, x)
    assert "seen" not in str(refused.value)
    weights = [*model.get_layer("seen").weights, *model.get_layer("logits").weights]
    found = empirical_ntk(model, x, variables=weights)
    assert error(found, kernel(jacobian(model, x, weights))) < 1e-5


@pytest.mark.skipif(BACKEND != "torch", reason="The wrapper is for torch alone.")
@pytest.mark.parametrize("alone", [True, False])
def test_torch_modules_are_refused(alone):
    import torch

    wrapped = layers.TorchModuleWrapper(torch.nn.Linear(4, 3), name="wrapped")
    if alone:
        model = keras.Sequential([keras.Input((4,)), wrapped])
    else:
        model = model_of(wrapped)
    with pytest.raises(ValueError, match="'wrapped' by a way"):
        empirical_ntk(model, numbers(5))


@pytest.mark.skipif(BACKEND != "torch", reason="Modules are wrapped on torch alone.")
def test_a_torch_module_that_keras_wraps_is_refused():
    import torch

    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.hidden = layers.Dense(4, activation="tanh")
            self.head = torch.nn.Linear(4, 3)

        def call(self, x):
            return self.head(self.hidden(x))

    model = Own()
    model(numbers(2))
    with pytest.raises(ValueError, match="torch_module_wrapper"):
        empirical_ntk(model, numbers(5))


@pytest.mark.skipif(BACKEND != "tensorflow", reason="The layer is TensorFlow's alone.")
def test_a_saved_model_is_refused(tmp_path):
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    inner.export(str(tmp_path / "inner"), verbose=False)
    model = model_of(layers.TFSMLayer(str(tmp_path / "inner"), name="reloaded"))
    with pytest.raises(ValueError, match="'reloaded' by a way"):
        empirical_ntk(model, numbers(5))


@pytest.mark.skipif(BACKEND != "jax", reason="JAX functions are layers there.")
def test_a_jax_function_is_exact():
    import jax

    def call(params, inputs):
        return jax.numpy.tanh(inputs @ params["w"])

    def start(rng, inputs):
        return {"w": jax.random.normal(rng, (4, 3))}

    model = model_of(layers.JaxLayer(call, init_fn=start))
    x = numbers(5)
    assert error(empirical_ntk(model, x), kernel(jacobian(model, x))) < 1e-5


class Exponential(layers.Layer):
    """Weights moved far make it infinite."""

    def build(self, shape):
        self.w = self.add_weight(shape=(shape[-1], 3), initializer="ones")

    def call(self, x):
        return ops.exp(200 * ops.tanh(ops.matmul(x, self.w) / 100))


class LooksAtItsWeights(Weighted):
    """It decides by numbers, where it can, and computes with tensors."""

    def call(self, x):
        sign = 1.0
        if BACKEND == "torch":
            sign = float(np.sign(ops.convert_to_numpy(self.w)[0, 0]))
        return ops.tanh(ops.matmul(x, self.w)) * sign


class Rounded(Weighted):
    """Rounded weights with the gradient of others, as in training for low precision."""

    def call(self, x):
        rounded = ops.round(self.w * 8) / 8
        return ops.matmul(x, self.w + ops.stop_gradient(rounded - self.w))


def captured():
    scale = keras.Variable(np.full(4, 2.0, "float32"))
    return layers.Lambda(lambda x: x * scale)


RIGHT = {
    "exponential": Exponential,
    "looks at its weights": LooksAtItsWeights,
    "rounded": Rounded,
    "stopped": lambda: layers.Lambda(ops.stop_gradient),
    "a captured variable": captured,
    "dead units": lambda: layers.Dense(
        4, activation="relu", bias_initializer=keras.initializers.Constant(-1e3)
    ),
    "zeros": lambda: layers.Dense(4, kernel_initializer="zeros"),
    "quantized steps": lambda: layers.Lambda(lambda x: ops.round(4 * x) / 4),
}


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_the_gradient_sees_is_not_refused(name, dtype):
    with policy(dtype):
        model = model_of(RIGHT[name]())
        x = numbers(5).astype(dtype)
        expected = kernel(jacobian(model, x))
        assert error(empirical_ntk(model, x), expected) < 1e-5


def test_seeds_statistics_and_losses_stay():
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(4, activity_regularizer="l2"),
            layers.BatchNormalization(),
            layers.Dropout(0.5),
            layers.Dense(3),
        ]
    )
    disturb(model)
    state = [*model.get_weights(), *(v.numpy() for v in model.variables)]
    losses = [float(loss) for loss in model.losses]
    empirical_ntk(model, numbers(5))
    after = [*model.get_weights(), *(v.numpy() for v in model.variables)]
    assert all(map(np.array_equal, state, after))
    assert [float(loss) for loss in model.losses] == losses
