"""What each kind of argument may be, and what is said where it is not."""

import re
from fractions import Fraction

import numpy as np
import pytest

from keras_kd import arguments

pytestmark = pytest.mark.once

NO_NUMBERS = (None, "1", True, np.True_, float("nan"), float("inf"), [1], 10**400)


def refused(message):
    return pytest.raises(ValueError, match=f"^{re.escape(message)}")


@pytest.mark.parametrize(
    "value", [2, 2.5, np.float32(2.5), np.int64(2), Fraction(5, 2)]
)
def test_numbers(value):
    number = arguments.check_number("a", value, above=1, below=3)
    assert type(number) is float
    assert number == value


@pytest.mark.parametrize("value", [*NO_NUMBERS, 1, 3, np.float64(3), -2])
def test_numbers_refused(value):
    with refused("`a` must be") as error:
        arguments.check_number("a", value, above=1, below=3)
    assert str(error.value) == (
        f"`a` must be a finite number > 1 and < 3. Received: a={arguments.shown(value)}"
    )


def test_a_limit_that_belongs_to_the_range():
    assert arguments.check_number("a", 0, at_least=0) == 0
    with refused("`a` must be a finite number >= 0. Received: a=-1e-300"):
        arguments.check_number("a", -1e-300, at_least=0)
    with refused("`a` must be a finite number. Received"):
        arguments.check_number("a", float("-inf"))
    with refused("`a` must be above all. Received: a=0"):
        arguments.check_number("a", 0, above=0, expected="above all")


@pytest.mark.parametrize("value", [1, 9, np.int64(3), np.uint8(3), np.array(3)])
def test_integers(value):
    for check in (arguments.check_integer, arguments.check_integer_or_none):
        integer = check("k", value, at_least=1, below=10)
        assert type(integer) is int
        assert integer == value
    assert arguments.is_integer(value, above=0, below=10)


@pytest.mark.parametrize(
    "value", ["1", True, np.True_, 1.0, np.float32(1), 0, 10, -1, [1], Fraction(1)]
)
def test_integers_refused(value):
    received = f" >= 1 and < 10. Received: k={value!r}"
    assert not arguments.is_integer(value, at_least=1, below=10)
    with refused("`k`") as error:
        arguments.check_integer("k", value, at_least=1, below=10)
    assert str(error.value) == "`k` must be an integer" + received
    with refused("`k`") as error:
        arguments.check_integer_or_none("k", value, at_least=1, below=10)
    assert str(error.value) == "`k` must be None or an integer" + received
    for check in (arguments.check_integer, arguments.check_integer_or_none):
        # Other words are for integers that are out of range.
        other = arguments.is_integer(value)
        with pytest.raises(ValueError, match=r"an integer|a positive one") as error:
            check("k", value, at_least=1, below=10, expected="a positive one")
        assert ("a positive one" in str(error.value)) == other


def test_none_in_place_of_an_integer():
    assert arguments.check_integer_or_none("k", None, above=0) is None
    with refused("`k` must be an integer > 0. Received: k=No"):
        arguments.check_integer("k", None, above=0)


@pytest.mark.parametrize(
    ("ends", "interval"),
    [
        ({}, "(0, 1)"),
        ({"zero": True}, "[0, 1)"),
        ({"one": True}, "(0, 1]"),
        ({"zero": True, "one": True}, "[0, 1]"),
    ],
)
def test_fractions(ends, interval):
    assert arguments.check_fraction("share", np.float32(0.5), **ends) == 0.5
    for name, end in (("zero", 0), ("one", 1)):
        if name in ends:
            assert arguments.check_fraction("share", end, **ends) == end
        else:
            with refused("`share` must be in"):
                arguments.check_fraction("share", end, **ends)
    for value in (-0.1, 1.1, *NO_NUMBERS):
        message = (
            f"`share` must be in {interval}. Received: share={arguments.shown(value)}"
        )
        with refused(message):
            arguments.check_fraction("share", value, **ends)


def test_choices():
    arguments.check_choice("kind", "a", ("a", "b"))
    arguments.check_choice("kind", None, {None: 1})
    message = "`kind` must be one of ['a', 'b']. Received: kind="
    for value in ("c", None, 1, ["a"], np.array(["a", "b"])):
        with refused(message + repr(value)):
            arguments.check_choice("kind", value, ("a", "b"))
    with refused("`kind` must be a or b. Received: kind='c'"):
        arguments.check_choice("kind", "c", ("a", "b"), expected="a or b")


def test_booleans():
    for value in (True, False, np.True_):
        assert arguments.check_boolean("flag", value) is bool(value)
    for value in (0, 1, None, "yes", np.array([True])):
        with refused("`flag` must be True or False. Received"):
            arguments.check_boolean("flag", value)


def test_layer_names():
    arguments.check_layer_name("layer", None)
    arguments.check_layer_name("layer", "block/conv")
    for value in ("", 3, ["conv"]):
        with refused("`layer` must be the name of a layer, or None for"):
            arguments.check_layer_name("layer", value)


def test_folders(tmp_path):
    assert arguments.check_folder("out", str(tmp_path)) == tmp_path
    assert arguments.check_folder("out", tmp_path / "new") == tmp_path / "new"
    (tmp_path / "file").touch()
    with refused(f"`out` must be a folder. Received: '{tmp_path / 'file'}', a file."):
        arguments.check_folder("out", tmp_path / "file")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3, "3"),
        ("a" * 500, "'" + "a" * 119 + "..."),
        (np.arange(3), "array([0, 1, 2])"),
        (np.zeros((40, 5), "float32"), "ndarray of shape (40, 5) and dtype float32"),
        (list(range(1000)), "list of 1000: 0, 1, 2, ..."),
        ([np.zeros(40)], "[array([0., 0., 0., 0., 0., 0., 0., 0."),
        (10**400, "1" + "0" * 119 + "..."),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_shown_of_a_value(value, text):
    said = arguments.shown(value)
    assert said.startswith(text)
    assert len(said) <= 123
    assert (said == text) or said.endswith("...")
