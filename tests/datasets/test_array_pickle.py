"""Against Python's own reader on what is harmless, and a table of what is not."""

import pickle
import pickletools
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from keras_kd.datasets.array_pickle import read_array_pickle

pytestmark = pytest.mark.once


@settings(max_examples=60, deadline=None)
@given(
    arrays.arrays(np.uint8, arrays.array_shapes(max_dims=3, max_side=5)),
    st.lists(st.integers(-(2**40), 2**40), max_size=5),
    st.binary(min_size=1, max_size=300),
    st.integers(2, 4),
    st.booleans(),
)
def test_reads_what_python_reads(array, labels, text, protocol, by_columns):
    batch = {b"data": array, b"labels": labels, b"text": text, b"none": (None, True)}
    if by_columns:
        batch[b"data"] = np.asfortranarray(array)
    content = pickle.dumps(batch, protocol=protocol)
    found = read_array_pickle(content)
    np.testing.assert_array_equal(found.pop(b"data"), batch.pop(b"data"))
    assert found == batch


def python_2():
    """As cPickle wrote the official files: texts of bytes, NumPy's old names."""
    raw = bytes(range(200, 206))
    return (
        b"\x80\x02}q\x01(U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03"
        b"cnumpy\nndarray\nq\x04K\x00\x85U\x01b\x87Rq\x05(K\x01K\x02K\x03\x86cnumpy\ndtype\n"
        b"q\x06U\x02u1K\x00K\x01\x87Rq\x07(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff"
        b"K\x00tb\x89U\x06" + raw + b"tbU\x06labelsq\x08]q\x09(K\x05K\x06eu."
    )


def test_the_form_of_the_official_files():
    found = read_array_pickle(python_2())
    assert found[b"data"].tolist() == [[200, 201, 202], [203, 204, 205]]
    assert found[b"labels"] == [5, 6]
    assert pickle.loads(python_2(), encoding="bytes")[b"labels"] == [5, 6]


def reduce_to(function, *arguments):
    class Forged:
        def __reduce__(self):
            return function, arguments

    return pickle.dumps(Forged(), 2)


def replaced(old, new, content=None):
    content = python_2() if content is None else content
    assert old in content
    return content.replace(old, new)


HOSTILE = {
    "a call": lambda: reduce_to(print, "harm"),
    "a module that begins with numpy": lambda: replaced(
        b"cnumpy\ndtype", b"cnumpyro\ndtype"
    ),
    "another of numpy's names": lambda: replaced(b"cnumpy\ndtype", b"cnumpy\nmemmap"),
    "objects as entries": lambda: replaced(b"U\x02u1", b"U\x02O8"),
    "a forged data type": lambda: replaced(
        b"(K\x03U\x01|NNNJ\xff\xff\xff\xff",
        b"(K\x03U\x01|N(U\x01atU\x01bJ\xff\xff\xff\x7f",
        # What the state says of the data type is not believed: the array is bytes.
        replaced(b"U\x02u1", b"U\x02i4"),
    ),
    "more entries than bytes": lambda: replaced(b"K\x02K\x03\x86", b"K\x02K\x09\x86"),
    "a negative size": lambda: replaced(
        b"K\x02K\x03\x86", b"J\xff\xff\xff\xffK\x03\x86"
    ),
    "a size of no whole number": lambda: replaced(b"K\x02K\x03\x86", b"NK\x03\x86"),
    "a state for a dictionary": lambda: b"\x80\x02}}b.",
    "a state for the second time": lambda: replaced(
        b"tbU\x06labels", b"tb(K\x01K\x01\x85h\x07\x89U\x01atbU\x06labels"
    ),
    "appending to an array": lambda: replaced(b"]q\x09(", b"h\x05("),
    "a key that is a list": lambda: b"\x80\x02}]K\x01s.",
    "keys without values": lambda: b"\x80\x02}(K\x01u.",
    "a mark that is missing": lambda: b"\x80\x02}K\x01u.",
    "a memo that is missing": lambda: b"\x80\x02h\x09.",
    "an empty stack": lambda: b"\x80\x02.",
    "a persistent object": lambda: b"\x80\x02K\x01Q.",
    "an extension": lambda: b"\x80\x02\x82\x01.",
    "an object by its class": lambda: b"\x80\x02cnumpy\nndarray\n)\x81.",
    "a text that claims more": lambda: (
        b"\x80\x02T" + struct.pack("<i", 2**31 - 1) + b"."
    ),
    "bytes that claim more": lambda: b"\x80\x04\x8e" + struct.pack("<Q", 2**60) + b".",
    "a text twenty times": lambda: (
        b"\x80\x02c_codecs\nencode\nq\x01X"
        + struct.pack("<I", 1000)
        + b"a" * 1000
        + b"q\x02X\x06\x00\x00\x00latin1q\x03\x86Rq\x04"
        + b"h\x01h\x02h\x03\x86R" * 20
        + b"."
    ),
    "another encoding": lambda: replaced(
        b"latin1", b"rot_13", pickle.dumps({b"data": b"abc"}, 2)
    ),
    "an array without bytes": lambda: (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85"
        b"U\x01b\x87R."
    ),
    "nothing": lambda: b"",
    "no pickle": lambda: b"<html>404</html>",
    "half of one": lambda: python_2()[: len(python_2()) // 2],
}


@pytest.mark.attack
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile(name, capsys):
    with pytest.raises(ValueError, match=r"^(it|an|a|at|pickle|no|not|expected) "):
        read_array_pickle(HOSTILE[name]())
    assert "harm" not in capsys.readouterr().out


@pytest.mark.attack
def test_lists_a_hundred_thousand_deep_take_no_recursion():
    content = b"\x80\x02" + b"(" * 10**5 + b"l" * 10**5 + b"."
    assert sum(1 for _ in pickletools.genops(content)) > 10**5
    assert isinstance(read_array_pickle(content), list)
