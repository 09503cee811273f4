"""Each example's gradients: of what PyTorch does not vectorise, of what is wrong."""

import warnings

import keras
import numpy as np
import pytest
from keras import ops

from keras_kd import backend

N, SIZE, UNITS = 4, 3, 5

on_torch = pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="Of how PyTorch vectorises."
)


def arrays():
    generator = np.random.default_rng(0)
    kernel = generator.normal(size=(SIZE, UNITS)).astype("float32")
    x = generator.normal(size=(N, SIZE)).astype("float32")
    cotangents = generator.normal(size=(2, N, UNITS)).astype("float32")
    return kernel, x, cotangents


def gradients(run):
    """Of `run(kernel, x)`, `(2, N, SIZE, UNITS)`."""
    kernel, x, cotangents = map(ops.convert_to_tensor, arrays())
    found = backend.per_example_gradients(
        lambda values, inputs: [run(values[0], inputs[0])], [kernel], [x], [cotangents]
    )
    return backend.to_numpy(found[0])


def expected(factors=1.0):
    """Of `x @ kernel`, each example times its factor."""
    _, x, cotangents = arrays()
    outer = np.einsum("ni,qno->qnio", x, cotangents)
    return outer * np.broadcast_to(factors, N)[:, None, None]


def test_of_a_product():
    np.testing.assert_allclose(
        gradients(lambda kernel, x: ops.matmul(x, kernel)), expected(), rtol=1e-5
    )


def test_of_what_is_not_used():
    found = gradients(lambda kernel, x: ops.tile(x, (1, 2))[:, :UNITS])
    np.testing.assert_array_equal(found, np.zeros((2, N, SIZE, UNITS)))


def item(kernel, x):
    return x @ kernel * x.sum().item()


def branch(kernel, x):
    return x @ kernel * (2.0 if x.sum() > 0 else 3.0)


def to_numpy(kernel, x):
    return x @ kernel * float(ops.convert_to_numpy(x).sum())


def dynamic_shape(kernel, x):
    return x @ kernel * len(ops.nonzero(x > 0)[0])


def boolean_mask(kernel, x):
    return x @ kernel * x[x > 0].sum()


def in_place(kernel, x):
    y = ops.zeros((1, UNITS))
    y += x @ kernel
    return y


def set_in_place(kernel, x):
    y = ops.zeros((1, UNITS))
    y[0] = (x @ kernel)[0]
    return y


def random(kernel, x):
    return x @ kernel + keras.random.normal((1, UNITS), seed=1)


def own_gradient(kernel, x):
    import torch

    class Twice(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return 2 * x

        @staticmethod
        def backward(ctx, gradient):
            return 2 * gradient

    return Twice.apply(x @ kernel)


def without_batched_form(kernel, x):
    import torch

    return x @ kernel * (1.0 if torch.equal(x, x) else 2.0)


def rows_of_values(kernel, x):
    import torch

    counts = torch.bincount((x > 0).sum(dim=1) + 1)
    return x @ kernel * len(counts)


_, X, _ = arrays()
POSITIVE = (X > 0).sum(axis=1)


@on_torch
@pytest.mark.parametrize(
    ("run", "factors"),
    [
        (item, X.sum(axis=1)),
        (branch, np.where(X.sum(axis=1) > 0, 2.0, 3.0)),
        (to_numpy, X.sum(axis=1)),
        (dynamic_shape, POSITIVE),
        (boolean_mask, np.where(X > 0, X, 0).sum(axis=1)),
        (in_place, 1.0),
        (set_in_place, 1.0),
        (random, 1.0),
        (own_gradient, 2.0),
        (without_batched_form, 1.0),
        (rows_of_values, POSITIVE + 2),
    ],
)
def test_what_pytorch_does_not_vectorise_is_taken_one_by_one(run, factors):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        found = gradients(run)
    np.testing.assert_allclose(found, expected(factors), rtol=1e-5)


@on_torch
@pytest.mark.parametrize(
    ("run", "factors"),
    [
        (lambda kernel, x: x @ kernel, 1.0),
        (lambda kernel, x: ops.tile(x, (1, 2))[:, :UNITS], 0.0),
        (lambda kernel, x: x @ kernel * (1.0 if kernel.sum() > 0 else 2.0), None),
    ],
)
def test_all_else_is_vectorised(run, factors, monkeypatch):
    from keras_kd.backend import torch as on

    monkeypatch.setattr(on, "_looped_gradients", None)
    if factors is None:
        factors = 1.0 if arrays()[0].sum() > 0 else 2.0
    np.testing.assert_allclose(gradients(run), expected(factors), rtol=1e-5)


@on_torch
def test_a_gru_of_pytorch():
    import torch

    gru = torch.nn.GRU(SIZE, UNITS, batch_first=True)
    names = [name for name, _ in gru.named_parameters()]

    def run(values, inputs):
        named = dict(zip(names, values, strict=True))
        return [torch.func.functional_call(gru, named, (inputs[0],))[0][:, -1]]

    values = [p.detach() for p in gru.parameters()]
    x, cotangents = torch.randn(N, 6, SIZE), torch.randn(2, N, UNITS)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        found = backend.per_example_gradients(run, values, [x], [cotangents])
    outputs = run(list(gru.parameters()), [x])[0]
    for q in range(2):
        for i in range(N):
            wanted = torch.autograd.grad(
                (outputs[i] * cotangents[q, i]).sum(),
                list(gru.parameters()),
                retain_graph=True,
            )
            for a, b in zip(found, wanted, strict=True):
                np.testing.assert_allclose(a[q, i].numpy(), b.numpy(), atol=1e-5)


def wrong_value(kernel, x):
    raise ValueError("This layer takes no such inputs.")


def wrong_type(kernel, x):
    return x @ kernel + None


def wrong_key(kernel, x):
    return {}["weights"]


def wrong_shape(kernel, x):
    return x @ x


def wrong_shape_in_place(kernel, x):
    y = x @ kernel
    y += y.expand(7, UNITS)
    return y


def not_done(kernel, x):
    raise NotImplementedError("This layer has no such mode.")


@on_torch
@pytest.mark.parametrize(
    ("run", "error", "message"),
    [
        (wrong_value, ValueError, "This layer takes no such inputs"),
        (wrong_type, TypeError, "unsupported operand"),
        (wrong_key, KeyError, "weights"),
        (wrong_shape, RuntimeError, "shapes cannot be multiplied"),
        (wrong_shape_in_place, RuntimeError, r"output with shape \[1, 5\] doesn't"),
        (not_done, NotImplementedError, "This layer has no such mode"),
    ],
)
def test_what_is_wrong_says_so(run, error, message):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        with pytest.raises(error, match=message) as raised:
            gradients(run)
    assert raised.type is error
    # In its own words, not as what happened while another error was handled.
    assert raised.value.__context__ is None


@on_torch
@pytest.mark.parametrize("error", [ValueError, TypeError, AttributeError])
def test_an_error_of_another_kind_is_no_reason_to_be_slow(error, monkeypatch):
    from keras_kd.backend import torch as on

    def broken(*args):
        raise error("broken")

    monkeypatch.setattr(on, "_vectorized_gradients", broken)
    with pytest.raises(error, match="broken"):
        gradients(lambda kernel, x: x @ kernel)


@on_torch
def test_an_unknown_reason_is_told(monkeypatch):
    from keras_kd.backend import torch as on

    def unknown(*args):
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(on, "_vectorized_gradients", unknown)
    with pytest.warns(UserWarning, match=r"example by example.*CUDA out of memory"):
        found = gradients(lambda kernel, x: x @ kernel)
    np.testing.assert_allclose(found, expected(), rtol=1e-5)
