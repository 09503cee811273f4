"""Keys of examples: the same for the same content, and only for that."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from keras_kd.teachers.cache.keys import RowsByKey, example_keys

SETTINGS = settings(max_examples=50, deadline=None, derandomize=True)
DTYPES = ["float32", "uint8", "int32", "bool"]


def batches(dtype):
    return arrays.arrays(dtype, arrays.array_shapes(min_dims=1, max_dims=3, max_side=5))


@SETTINGS
@given(st.sampled_from(DTYPES).flatmap(batches), st.randoms())
def test_any_order_and_any_batch(x, random):
    keys = example_keys(x)
    assert keys.shape == (len(x),)
    assert keys.dtype == np.uint64
    order = list(range(len(x)))
    random.shuffle(order)
    np.testing.assert_array_equal(example_keys(x[order]), keys[order])
    one_by_one = [example_keys(x[i : i + 1])[0] for i in range(len(x))]
    np.testing.assert_array_equal(one_by_one, keys)
    # Nor does the layout in memory matter.
    np.testing.assert_array_equal(example_keys(np.asfortranarray(x)), keys)


@SETTINGS
@given(st.sampled_from(DTYPES[:3]).flatmap(batches), st.data())
def test_a_single_bit(x, data):
    x = np.ascontiguousarray(x)
    other = x.copy()
    bits = other.reshape(len(x), -1).view(np.uint8)
    row = data.draw(st.integers(0, len(x) - 1))
    byte = data.draw(st.integers(0, bits.shape[1] - 1))
    bits[row, byte] ^= 1 << data.draw(st.integers(0, 7))
    same = example_keys(x) == example_keys(other)
    assert not same[row]
    assert np.delete(same, row).all()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("float32", "float64"),
        ("float16", "float32"),
        ("int32", "int64"),
        ("int8", "int32"),
        ("bool", "uint8"),
    ],
)
def test_types_that_keras_casts(one, other):
    x = np.random.default_rng(0).integers(0, 2, (7, 3)).astype(one)
    np.testing.assert_array_equal(example_keys(x), example_keys(x.astype(other)))


def test_numbers_beyond_32_bits():
    """They are other examples; those of 32 bits are the same in either type."""
    x = np.array([[7, 1], [7 + 2**32, 1], [7 - 2**32, 1], [7, 1 + 2**40], [-7, 1]])
    keys = example_keys(x)
    assert len(set(keys)) == 5
    np.testing.assert_array_equal(keys[[0, 4]], example_keys(x[[0, 4]].astype("int32")))
    np.testing.assert_array_equal(example_keys(x[::-1])[::-1], keys)
    np.testing.assert_array_equal(
        [example_keys(x[i : i + 1])[0] for i in range(5)], keys
    )
    assert len(set(example_keys({"a": x, "b": x[::-1]}))) == 5
    # As caches of the first version know them.
    assert len(set(example_keys(x, bits=32))) == 2
    near = 1.0 + np.array([[0.0], [1e-12], [np.nan]])
    assert len(set(example_keys(near))) == 2  # Keras makes one float32 of them
    keras.config.set_floatx("float64")
    try:
        assert len(set(example_keys(near))) == 3
    finally:
        keras.config.set_floatx("float32")


def test_tensors():
    x = np.random.default_rng(0).normal(size=(7, 3)).astype("float32")
    for dtype in ("float32", "bfloat16"):
        tensor = keras.ops.cast(keras.ops.convert_to_tensor(x), dtype)
        array = keras.ops.convert_to_numpy(keras.ops.cast(tensor, "float32"))
        held = keras.ops.convert_to_numpy(tensor)
        np.testing.assert_array_equal(example_keys(held), example_keys(array))


def test_structures_of_inputs():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(6, 4)), rng.integers(0, 9, (6, 2))
    keys = example_keys({"a": a, "b": b})
    np.testing.assert_array_equal(example_keys({"b": b, "a": a}), keys)
    np.testing.assert_array_equal(example_keys([a, b]), keys)
    for other in ({"a": a + 1, "b": b}, {"a": a, "b": b + 1}, {"a": b, "b": a}, a):
        assert not (example_keys(other) == keys).any()
    swapped = example_keys({"a": a[::-1], "b": b})
    assert not (swapped == keys).any()


@pytest.mark.wrong_input
def test_what_has_no_numbers():
    with pytest.raises(ValueError, match=r"knows examples by their numbers.*<U5"):
        example_keys(np.array(["a cat", "a dog"]))


@SETTINGS
@given(
    st.lists(st.integers(0, 2**64 - 1), min_size=1, unique=True),
    st.lists(st.integers(0, 2**64 - 1)),
)
def test_rows_by_key(held, others):
    rows = RowsByKey(np.array(held, np.uint64))
    asked = [*held[::-1], *others]
    found, known = rows.find(np.array(asked, np.uint64))
    for key, row, there in zip(asked, found, known, strict=True):
        assert there == (key in held)
        if there:
            assert held[row] == key
