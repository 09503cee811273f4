"""Reads a pickle of byte arrays, numbers and texts, and runs nothing that it names.

A pickle is a program. What Python's own reader builds when it is told to, also under a
list of permitted names, can be made to run code or to corrupt memory: a forged state of
NumPy's data type is enough. Here the operations that such files consist of are carried
out on plain values, and an array is made from its bytes once their number is right.
"""

import math
import pickletools
from collections.abc import Callable
from typing import Any

import numpy as np

_MARK = object()
# What these files name, and what stands for it here: nothing is imported.
_ARRAY, _DTYPE, _ENCODE, _RECONSTRUCT = (object() for _ in range(4))
_NAMES = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy", "ndarray"): _ARRAY,
    ("numpy", "dtype"): _DTYPE,
    ("_codecs", "encode"): _ENCODE,
}


class _Array:
    """An array of unsigned bytes that has been announced; its bytes come later."""

    value: np.ndarray | None = None


class _Byte:
    """NumPy's data type of unsigned bytes."""


def read_array_pickle(content: bytes) -> Any:
    """The dictionary, list or array that a pickle of such values describes.

    Args:
        content: the pickle, of any protocol.

    Returns:
        Dictionaries, lists, tuples, numbers, `None`, and `uint8` arrays. All texts are
        `bytes`, as those of Python 2 are.

    Raises:
        ValueError: the content is cut short, or asks for anything else.
    """
    machine = _Machine(len(content))
    try:
        for operation, argument, _ in pickletools.genops(content):
            machine.carry_out(operation.name, argument)
        return _finished(machine.stack.pop())
    except (IndexError, KeyError, TypeError, OverflowError) as error:
        raise ValueError(f"it is no whole pickle ({error})") from error


class _Machine:
    def __init__(self, size: int) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        # Bytes that texts may be turned into: a file holds its own once.
        self.room = size

    def carry_out(self, name: str, argument: Any) -> None:
        if name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _NUMBERS:
            self.stack.append(argument)
        elif name in _TEXTS:
            # Python 2's texts are bytes, which `pickletools` gives as Latin-1.
            encoding = "latin-1" if name.endswith("STRING") else "utf-8"
            is_bytes = isinstance(argument, bytes)
            self.stack.append(argument if is_bytes else argument.encode(encoding))
        elif name in _FRESH:
            self.stack.append(_FRESH[name]())
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self.memo[argument] = self.stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = self.stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[argument])
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            self._name(argument)
        elif name in _STEPS:
            _STEPS[name](self)
        elif name not in ("PROTO", "FRAME", "STOP"):
            raise ValueError(f"it has the operation {name}")

    def _name(self, argument: str | None) -> None:
        if argument is None:
            name, module = self.stack.pop(), self.stack.pop()
            found = (module.decode(), name.decode())
        else:
            module, _, name = argument.partition(" ")
            found = (module, name)
        if found not in _NAMES:
            raise ValueError(f"it names {'.'.join(found)}")
        self.stack.append(_NAMES[found])

    def since_mark(self) -> list[Any]:
        at = len(self.stack) - 1
        while self.stack[at] is not _MARK:
            at -= 1
            if at < 0:
                raise ValueError("a mark is missing")
        items = self.stack[at + 1 :]
        del self.stack[at:]
        return items

    def last(self, n: int) -> None:
        items = tuple(self.stack[-n:])
        if len(items) < n:
            raise ValueError("a tuple lacks its items")
        del self.stack[-n:]
        self.stack.append(items)

    def append(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            raise ValueError("it appends to what is no list")
        target.extend(items)

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict or len(items) % 2:
            raise ValueError("it has keys without values, or outside a dictionary")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) not in (bytes, int):
                raise ValueError("a key is neither a text nor a number")
            target[key] = value

    def call(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if function is _RECONSTRUCT and arguments[0] is _ARRAY:
            self.stack.append(_Array())
        elif function is _DTYPE and arguments[0] == b"u1":
            self.stack.append(_Byte())
        elif function is _ENCODE and arguments[1] == b"latin1":
            encoded = arguments[0].decode("utf-8").encode("latin-1")
            self.room -= len(encoded)
            if self.room < 0:
                raise ValueError("it holds fewer bytes than it gives")
            self.stack.append(encoded)
        else:
            raise ValueError("it calls what makes no array of bytes")

    def build(self) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        if isinstance(target, _Byte):
            return  # of one byte there is one kind
        if not isinstance(target, _Array) or target.value is not None:
            raise ValueError("it gives a state to what has none")
        _, shape, dtype, by_columns, content = state
        dimensions = type(shape) is tuple and all(
            type(size) is int and size >= 0 for size in shape
        )
        if not dimensions or len(shape) > 4 or type(dtype) is not _Byte:
            raise ValueError("an array is not of unsigned bytes")
        if type(content) is not bytes or math.prod(shape) != len(content):
            raise ValueError(f"an array of shape {shape} has another number of bytes")
        values = np.frombuffer(content, np.uint8)
        target.value = values.reshape(shape, order="F" if by_columns else "C")


_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "MARK": _MARK}
_FRESH: dict[str, Callable[[], Any]] = {
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
}
_NUMBERS = {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"}
_NUMBERS |= {"FLOAT", "BINFLOAT"}
_TEXTS = {"STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE"}
_TEXTS |= {"SHORT_BINUNICODE", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"}
_STEPS: dict[str, Callable[[_Machine], Any]] = {
    "TUPLE": lambda m: m.stack.append(tuple(m.since_mark())),
    "TUPLE1": lambda m: m.last(1),
    "TUPLE2": lambda m: m.last(2),
    "TUPLE3": lambda m: m.last(3),
    "LIST": lambda m: m.stack.append(m.since_mark()),
    "DICT": lambda m: _dictionary(m, m.since_mark()),
    "APPEND": lambda m: m.append([m.stack.pop()]),
    "APPENDS": lambda m: m.append(m.since_mark()),
    "SETITEM": lambda m: _one_item(m, m.stack.pop(), m.stack.pop()),
    "SETITEMS": lambda m: m.set_items(m.since_mark()),
    "REDUCE": _Machine.call,
    "BUILD": _Machine.build,
    "POP": lambda m: m.stack.pop(),
}


def _dictionary(machine: _Machine, items: list[Any]) -> None:
    machine.stack.append({})
    machine.set_items(items)


def _one_item(machine: _Machine, value: Any, key: Any) -> None:
    machine.set_items([key, value])


def _finished(value: Any) -> Any:
    """Arrays in place of their announcements, in a dictionary's first level."""
    if isinstance(value, _Array):
        if value.value is None:
            raise ValueError("an array has no bytes")
        return value.value
    if type(value) is dict:
        return {
            key: _finished(item) if isinstance(item, _Array) else item
            for key, item in value.items()
        }
    return value
