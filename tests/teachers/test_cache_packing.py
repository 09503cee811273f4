"""How logits are stored: what comes back of them, by SciPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.special import log_softmax, rel_entr, softmax

from keras_kd.teachers.cache.packing import Packing, checked_packing, divergence

EPS = np.finfo(np.float32).eps
finite = st.floats(-1e3, 1e3, width=32)
SETTINGS = settings(max_examples=60, deadline=None, derandomize=True)


def logits(min_classes=2):
    shapes = st.tuples(st.integers(1, 5), st.integers(min_classes, 12))
    return shapes.flatmap(
        lambda shape: arrays.arrays(np.float32, shape, elements=finite)
    )


def round_trip(z, dtype, top_k=None):
    packing = Packing(dtype, top_k)
    parts = packing.pack(z)
    declared = packing.parts(z.shape[1:])
    assert parts.keys() == declared.keys()
    for name, (shape, kind) in declared.items():
        assert parts[name].shape == (len(z), *shape)
        assert parts[name].dtype == kind
    back = packing.unpack(parts, z.shape[-1])
    assert back.dtype == np.float32
    return back


@SETTINGS
@given(logits(min_classes=1))
def test_float32_is_exact(z):
    np.testing.assert_array_equal(round_trip(z, "float32"), z)


@SETTINGS
@given(logits(min_classes=1))
def test_float16_errs_by_less_than_documented(z):
    back = round_trip(z, "float16")
    largest = z.max(axis=-1, keepdims=True)
    distance = largest.astype(np.float64) - z
    # Beside it the rounding of float32, in which logits are given and come back.
    rounding = 2 * EPS * np.maximum(np.abs(z), np.abs(largest)) + 2.0**-24
    assert (np.abs(back.astype(np.float64) - z) <= 5e-4 * distance + rounding).all()
    at_largest = np.take_along_axis(back, z.argmax(-1)[:, None], -1)
    np.testing.assert_array_equal(at_largest, largest)


def test_float16_of_logits_beyond_its_range():
    z = np.array([[1e6, 0.0, -1e6]], np.float32)
    back = round_trip(z, "float16")
    assert np.isfinite(back).all()
    np.testing.assert_array_equal(softmax(back, axis=-1), [[1, 0, 0]])


@SETTINGS
@given(logits(), st.integers(1, 12))
def test_top_k_at_temperature_1(z, k):
    """Of kept classes nothing changes; the others share what is left equally."""
    classes = z.shape[-1]
    back = round_trip(z, "float32", k)
    if k >= classes:
        np.testing.assert_array_equal(back, z)
        return
    p, q = (softmax(each.astype(np.float64), axis=-1) for each in (z, back))
    order = np.argsort(-z, axis=-1, kind="stable")
    kept, others = order[:, :k], order[:, k:]
    tolerance = 4 * EPS * (1 + np.abs(z).max())
    np.testing.assert_allclose(q.sum(axis=-1), 1, rtol=1e-12)
    np.testing.assert_array_equal(
        np.take_along_axis(back, kept, -1), np.take_along_axis(z, kept, -1)
    )
    np.testing.assert_allclose(
        np.take_along_axis(q, kept, -1), np.take_along_axis(p, kept, -1), tolerance
    )
    rest = np.take_along_axis(p, others, -1).mean(axis=-1, keepdims=True)
    np.testing.assert_allclose(
        np.take_along_axis(q, others, -1),
        np.broadcast_to(rest, others.shape),
        rtol=tolerance,
        atol=1e-300,
    )


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_top_k_over_positions_and_many_classes(dtype):
    """More classes than 16 bits count, at each position of a sequence."""
    z = np.random.default_rng(0).normal(size=(2, 3, 70_000)).astype("float32")
    back = round_trip(z, dtype, 5)
    classes = np.argsort(-z, axis=-1)[..., :5]
    np.testing.assert_array_equal(np.argsort(-back, axis=-1)[..., :5], classes)
    p, q = (
        np.take_along_axis(softmax(each.astype(np.float64), -1), classes, -1)
        for each in (z, back)
    )
    np.testing.assert_allclose(q, p, rtol=2e-6 if dtype == "float32" else 5e-3)


@SETTINGS
@given(logits(), st.sampled_from([1.0, 4.0]), st.sampled_from([None, 1, 3]))
def test_divergence(z, temperature, k):
    z = z / 50  # or probabilities underflow, and SciPy says infinity
    back = round_trip(z, "float16", k)
    p, q = (
        softmax(each.astype(np.float64) / temperature, axis=-1) for each in (z, back)
    )
    assert divergence(z, back, temperature) == pytest.approx(
        rel_entr(p, q).sum(axis=-1).mean(), rel=1e-6, abs=1e-12
    )


@SETTINGS
@given(
    arrays.arrays(np.float32, (4, 1), elements=finite),
    st.sampled_from(["float16", "float32"]),
    st.sampled_from([None, 1]),
)
def test_one_unit_is_exact(z, dtype, k):
    """A Bernoulli logit: its own largest, and nothing to be cut."""
    np.testing.assert_array_equal(round_trip(z, dtype, k), z)
    assert divergence(z, round_trip(z, dtype, k), 1.0) == 0


def test_equal_logits_keep_the_first_classes():
    z = np.zeros((1, 6), np.float32)
    parts = Packing("float32", 2).pack(z)
    np.testing.assert_array_equal(parts["classes"], [[0, 1]])
    np.testing.assert_allclose(
        log_softmax(Packing("float32", 2).unpack(parts, 6), -1), -np.log(6), rtol=1e-6
    )


@pytest.mark.wrong_input
def test_arguments():
    for dtype in ("float64", "bfloat16", None, 16):
        with pytest.raises(ValueError, match="`dtype` must be one of"):
            checked_packing(dtype, None)
    for k in (0, -1, 2.0, True, "2"):
        with pytest.raises(ValueError, match="`top_k` must be None or an integer > 0"):
            checked_packing("float16", k)
