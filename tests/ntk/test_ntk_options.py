"""Which variables and outputs, where the result goes, in which pieces and precision."""

import keras
import numpy as np
import pytest
from float64 import float64_scope
from jacobian_oracle import jacobian, kernel
from keras import layers
from ntk_models import BACKEND, build, disturb, inputs_for
from ntk_small import error, numbers, small

from keras_kd.ntk import (
    empirical_ntk,
)

# --- options -------------------------------------------------------------------------


def test_a_subset_of_the_variables(float64):
    model, spec = build("residual")
    x = inputs_for(spec, 3)
    for chosen in (
        model.trainable_variables[:1],
        model.trainable_variables[1:4],
        model.trainable_variables[::-1][:2],
    ):
        found = empirical_ntk(model, x, variables=chosen, outputs="full")
        expected = kernel(jacobian(model, x, chosen), outputs="full")
        assert error(found, expected) < 1e-10


def test_negative_index_and_lists_of_numbers():
    model, x = small(), numbers()
    j = jacobian(model, x)
    assert error(empirical_ntk(model, x, outputs=-1), kernel(j, outputs=2)) < 1e-6
    vector = [1, -2.0, 0.5]
    found = empirical_ntk(model, x, outputs=vector)
    assert error(found, kernel(j, outputs=vector)) < 1e-6


@pytest.mark.parametrize("outputs", ["trace", "per_output", "full"])
def test_out_is_an_array(outputs):
    model, x = small(), numbers()
    expected = empirical_ntk(model, x, outputs=outputs)
    out = np.full(expected.shape, np.nan, "float32")
    assert empirical_ntk(model, x, outputs=outputs, out=out) is out
    np.testing.assert_allclose(out, expected, rtol=1e-5)


def test_out_in_memory_map(tmp_path):
    model, x = small(), numbers()
    path = tmp_path / "kernel.npy"
    out = np.lib.format.open_memmap(path, "w+", "float32", (6, 6))
    empirical_ntk(model, x, out=out)
    np.testing.assert_allclose(np.load(path), empirical_ntk(model, x), rtol=1e-5)


def test_a_stopped_run_goes_on(tmp_path, monkeypatch):
    from keras_kd.ntk import kernel as kernel_file

    model, x = small(), numbers(9)
    path = tmp_path / "kernel.npy"
    monkeypatch.setattr(kernel_file, "block_size", lambda *_: 3)
    block_of, computed = kernel_file.block_of, []

    def counted(*args):
        if stop_after is not None and len(computed) == stop_after:
            raise KeyboardInterrupt
        computed.append(None)
        return block_of(*args)

    monkeypatch.setattr(kernel_file, "block_of", counted)
    stop_after = 4
    with pytest.raises(KeyboardInterrupt):
        empirical_ntk(model, x, out=path)
    stop_after = None
    found = empirical_ntk(model, x, out=path)
    # Of three rows of blocks, six are on or below the diagonal.
    assert len(computed) == 6
    assert error(np.array(found), kernel(jacobian(model, x))) < 1e-6
    assert np.array_equal(found, found.T)
    # Other weights are not mixed in.
    disturb(model, 1)
    with pytest.raises(ValueError, match="`out`"):
        empirical_ntk(model, x, out=path)


@pytest.mark.parametrize("outputs", ["trace", "per_output", "full", 1])
def test_blocks_fit_together(outputs, monkeypatch, float64):
    from keras_kd.ntk import kernel as kernel_file

    model, spec = build("conv2d_same")
    x = inputs_for(spec, 7)
    monkeypatch.setattr(kernel_file, "block_size", lambda *_: 3)
    found = empirical_ntk(model, x, outputs=outputs, batch_size=2)
    j = jacobian(model, x)
    assert error(found, kernel(j, outputs=outputs)) < 1e-10
    axes = (1, 0, 3, 2) if found.ndim == 4 else (1, 0, 2)[: found.ndim]
    assert np.array_equal(found, found.transpose(axes))
    found = empirical_ntk(model, x, x[:5], outputs=outputs, batch_size=2)
    assert error(found, kernel(j, j[:5], outputs)) < 1e-10


@pytest.mark.parametrize("outputs", ["trace", "per_output", "full"])
@pytest.mark.parametrize(
    "name", ["conv2d_many_filters", "conv2d_uneven_dilation", "dense"]
)
def test_pieces_fit_together(name, outputs, monkeypatch, float64):
    from keras_kd.ntk.factors import accumulator, blas, outer

    model, spec = build(name)
    x = inputs_for(spec, 7)
    j = jacobian(model, x)
    for size in (1, 50, 500):
        monkeypatch.setattr(outer, "_BLOCK", size * 7)
        monkeypatch.setattr(outer, "_CACHED", size)
        monkeypatch.setattr(blas, "_PANEL", 3)
        monkeypatch.setattr(accumulator, "_PIECE", size)
        monkeypatch.setattr(accumulator, "_STRIPE", 4)
        for implementation in ("auto", "structured"):
            options = {"outputs": outputs, "implementation": implementation}
            found = empirical_ntk(model, x, **options)
            assert error(found, kernel(j, outputs=outputs)) < 1e-10
        found = empirical_ntk(model, x, x[:5], outputs=outputs)
        assert error(found, kernel(j, j[:5], outputs)) < 1e-10


@pytest.mark.skipif(BACKEND != "jax", reason="The others run one pass at a time.")
def test_devices_share_the_passes(monkeypatch):
    from keras_kd import backend

    model, spec = build("conv2d_same", "float32")
    x = inputs_for(spec, 17, dtype="float32")
    expected = empirical_ntk(model, x)
    used = []

    def put(values, device):
        used.append(device)
        return there(values, device)

    there = backend.put
    monkeypatch.setattr(backend, "put", put)
    found = empirical_ntk(model, x, batch_size=5)
    assert set(used) == set(backend.local_devices())
    assert len(set(used)) == 2
    assert error(found, expected) < 1e-6


def test_batch_size_and_implementation_do_not_matter():
    model, spec = build("conv2d_same", "float32")
    x = inputs_for(spec, 7, dtype="float32")
    expected = empirical_ntk(model, x)
    for options in (
        {"batch_size": 1},
        {"batch_size": 3},
        {"batch_size": 100},
        {"implementation": "structured"},
        {"implementation": "jacobian"},
    ):
        assert error(empirical_ntk(model, x, **options), expected) < 1e-6, options


def test_progress_is_shown(capsys):
    empirical_ntk(small(), numbers(), progress=True)
    assert "kernel" in capsys.readouterr().out
    empirical_ntk(small(), numbers())
    assert not capsys.readouterr().out


# --- precision -----------------------------------------------------------------------


def test_sums_in_float64_are_nearer():
    model, spec = build("conv1d_same", "float32")
    x = inputs_for(spec, 8, dtype="float32")
    exact, _ = build("conv1d_same")

    with float64_scope():
        expected = kernel(jacobian(exact, x.astype("float64")))
    found = empirical_ntk(model, x, accumulate="float64")
    assert found.dtype == np.float64
    assert error(found, expected) < 1e-6
    # Float64 sums of float32 features: of rank 8, with a positive spectrum.
    assert np.linalg.eigvalsh(found)[0] > 0


def test_float64_sums_are_positive_definite_where_float32_sums_are_not():
    # Two hundred examples that nearly coincide: their kernel is nearly singular.
    model = keras.Sequential([keras.Input((300,)), layers.Dense(2)])
    disturb(model)
    rng = np.random.default_rng(0)
    x = 1 + 1e-3 * rng.normal(size=(200, 300))
    x = x.astype("float32")
    single = empirical_ntk(model, x)
    double = empirical_ntk(model, x, accumulate="float64")
    assert np.linalg.eigvalsh(single.astype("float64"))[0] < 0
    assert np.linalg.eigvalsh(double)[0] > 0
    wide = x.astype("float64")
    np.testing.assert_allclose(double, 2 * (wide @ wide.T + 1), rtol=1e-12)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_is_near_float32(policy):
    x = numbers()
    expected = empirical_ntk(small(), x)
    before = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy(policy)
        mixed = small()
    finally:
        keras.config.set_dtype_policy(before)
    found = empirical_ntk(mixed, x)
    assert found.dtype == np.float32
    assert error(found, expected) < 0.03
    assert not np.array_equal(found, expected)
