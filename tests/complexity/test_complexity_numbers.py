"""A `Complexity` is a number, and still knows how well it is known."""

import copy
import json
import math
import operator
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_kd.complexity import (
    Complexity,
    adjusted_supervision_complexity,
    supervision_complexity,
)

pytestmark = pytest.mark.once

numbers = st.floats(1e-6, 1e6)
complexities = st.builds(
    Complexity,
    numbers,
    ridge=numbers,
    condition_number=numbers,
    residual=numbers,
    iterations=st.none() | st.integers(0, 100),
)
KNOWN = ("ridge", "condition_number", "residual", "iterations")


def known(complexity):
    return [getattr(complexity, name) for name in KNOWN]


@given(complexities, numbers)
def test_arithmetic_gives_plain_floats(c, other):
    for compute in (
        operator.add,
        operator.sub,
        operator.mul,
        operator.truediv,
        operator.floordiv,
        operator.mod,
    ):
        for found, expected in (
            (compute(c, other), compute(c.value, other)),
            (compute(other, c), compute(other, c.value)),
            (compute(c, c), compute(c.value, c.value)),
        ):
            assert type(found) is float
            assert found == expected
    for compute in (abs, operator.neg, operator.pos, math.sqrt, float):
        assert type(compute(c)) is float
        assert compute(c) == compute(c.value)
    assert c**2 == c.value**2
    assert type(c**2) is float


@given(complexities, complexities)
def test_comparisons_are_those_of_the_values(a, b):
    for compare in (
        operator.lt,
        operator.le,
        operator.eq,
        operator.ne,
        operator.ge,
        operator.gt,
    ):
        assert compare(a, b) is compare(a.value, b.value)
        assert compare(a, b.value) is compare(a.value, b.value)
        assert compare(a.value, b) is compare(a.value, b.value)
    assert hash(a) == hash(a.value)
    assert sorted([a, b]) == sorted([a.value, b.value])
    assert max(a, b) == max(a.value, b.value)
    assert sum([a, b]) == a.value + b.value


@given(complexities)
def test_rounded_and_written(c):
    value = c.value
    assert type(value) is float
    assert (round(c), round(c, 3)) == (round(value), round(value, 3))
    assert (math.floor(c), math.ceil(c), int(c)) == (
        math.floor(value),
        math.ceil(value),
        int(value),
    )
    for spec in ("", ".3f", "g", ".2e", "10.1f"):
        assert format(c, spec) == format(value, spec)
    assert (f"{c}", str(c), f"{c:.3f}") == (f"{value}", str(value), f"{value:.3f}")
    assert json.loads(json.dumps({"c": c})) == {"c": value}


@given(complexities)
def test_in_numpy(c):
    array = np.asarray(c)
    assert (array.dtype, array.shape, array.item()) == (np.float64, (), c.value)
    np.testing.assert_array_equal(np.array([c, 2 * c]), [c.value, 2 * c.value])
    assert np.log(c) == np.log(c.value)


@given(complexities)
def test_what_is_known_is_kept(c):
    copies = [copy.copy(c), copy.deepcopy(c)]
    copies += [pickle.loads(pickle.dumps(c, protocol)) for protocol in range(6)]
    for other in copies:
        assert type(other) is Complexity
        assert (other.value, known(other)) == (c.value, known(c))
    assert eval(repr(c)).value == c.value
    assert known(eval(repr(c))) == known(c)
    for name in KNOWN:
        assert f"{name}={getattr(c, name)!r}" in repr(c)


@given(complexities)
def test_it_does_not_change(c):
    for name in (*KNOWN, "value", "other"):
        with pytest.raises(AttributeError):
            setattr(c, name, 1.0)
    assert not hasattr(c, "other")


def test_measures_are_numbers():
    kernel, targets = np.diag([1.0, 4.0]), np.array([2.0, 2.0])
    found = supervision_complexity(kernel, targets)
    assert isinstance(found, float)
    assert found == pytest.approx(math.sqrt(4 + 1))
    assert found**2 / 5 == pytest.approx(1)
    adjusted = adjusted_supervision_complexity(kernel, targets)
    assert adjusted / found == pytest.approx(math.sqrt(5) / 2)
    assert f"{adjusted:.2f}" == "2.50"
    assert (adjusted.ridge, adjusted.iterations) == (0.0, None)
    assert adjusted.condition_number == pytest.approx(4)
    assert adjusted.residual < 1e-12
