"""Teachers of a cache that are no models: logits that are there, or a function."""

import dataclasses
import hashlib
import itertools
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_kd.arguments import check_integer, shown
from keras_kd.outputs import (
    Kind,
    OutputKind,
    declared_kinds,
    output_names,
    to_logits,
)
from keras_kd.teachers.cache.keys import RowsByKey, example_keys
from keras_kd.teachers.cache.manifest import CachedStage
from keras_kd.teachers.cache.passes import Passes
from keras_kd.teachers.cache.source import Predict

# Examples whose logits are looked through at once.
_CHECKED = 65_536


class _Given:
    """What stands for `Source` where there is no model.

    Attributes:
        name: of the teacher.
        outputs: `"logits"` or `"probabilities"`.
        model: none.
        stages: as in a cache.
        total_steps: of the last stage.
    """

    model = None

    def __init__(
        self, name: str, outputs: str, output_kind: OutputKind, sums: list[str]
    ) -> None:
        self.name, self.outputs, self._declared = name, outputs, output_kind
        self.total_steps = 0
        self.stages = tuple(CachedStage(i, 0, 0, {}, s) for i, s in enumerate(sums))

    def __len__(self) -> int:
        return len(self.stages)

    def output_kinds(self, outputs: Any) -> list[Kind | None]:
        """What each output means, as far as it was said."""
        return declared_kinds(self._declared, output_names(None, outputs))

    def _as_logits(self, outputs: Any) -> Any:
        outputs = keras.tree.map_structure(
            lambda leaf: _as_array(leaf).astype(np.float32), outputs
        )
        if self.outputs == "logits":
            return outputs
        tensors = keras.tree.map_structure(keras.ops.convert_to_tensor, outputs)
        logits = to_logits(tensors, self.outputs, self.output_kinds(outputs))
        return keras.tree.map_structure(keras.ops.convert_to_numpy, logits)


class GivenFunction(_Given):
    """A function from a batch of inputs to outputs: a served teacher, say.

    Args:
        function: from NumPy arrays to an array `(n, ..., k)`, or a structure of such.
        outputs: `"logits"` or `"probabilities"`.
        output_kind: what the outputs mean.
        passes: the examples. By what it says of one of them, which their order does
            not change, the function is known again.

    Raises:
        ValueError: it does not give a row for each example.
    """

    def __init__(
        self,
        function: Callable[[Any], Any],
        outputs: str,
        output_kind: OutputKind,
        passes: Passes,
    ) -> None:
        self._function = function
        name = getattr(function, "__name__", type(function).__name__)
        said = _checked(function(_smallest(passes)), 1, "`teacher`")
        # In half precision: the last bits may depend on the batch.
        rounded = keras.tree.map_structure(
            lambda leaf: _as_array(leaf).astype(np.float16), said
        )
        super().__init__(name, outputs, output_kind, [_digest(rounded)])

    def load(self, stage: int, example: Any) -> Predict:
        """The function, as a cache asks for it."""

        def predict(inputs: Any) -> tuple[Any, dict[str, np.ndarray]]:
            n = len(keras.tree.flatten(inputs)[0])
            said = _checked(self._function(inputs), n, "`teacher`")
            return self._as_logits(said), {}

        return predict


@dataclasses.dataclass(frozen=True)
class Logits:
    """What `SupervisionCache.from_logits` is given; see `GivenLogits`."""

    arrays: Any
    steps: Iterable[int] | None


class GivenLogits(_Given):
    """Outputs that a teacher gave elsewhere, one row for each example.

    Args:
        logits: array `(n, ..., k)`, the `.npy` file of one, or a structure of arrays;
            with `steps` a list of such, one for each checkpoint.
        passes: the examples, in the same order.
        outputs: `"logits"` or `"probabilities"`.
        output_kind: what the outputs mean.
        steps: teacher batches completed at each checkpoint; `None`: one checkpoint.

    Raises:
        ValueError: numbers or shapes do not fit, a logit is not finite, or two equal
            examples have different ones.
        FileNotFoundError: a file is missing.
    """

    def __init__(
        self,
        logits: Any,
        passes: Passes,
        outputs: str,
        output_kind: OutputKind,
        steps: Iterable[int] | None,
    ) -> None:
        every = [logits] if steps is None else logits
        if not isinstance(every, list | tuple) or not every:
            raise ValueError(
                "`logits` must be a list, one for each of `steps`. Received: "
                f"logits={shown(logits)}"
            )
        counts = _counts(steps, len(every))
        if not passes.in_order:
            raise ValueError(
                "`data` must be arrays, or a pair `(x, y)` of them: what gives batches "
                "may give them in any order, and row i of `logits` is of example i. "
                f"Received: {passes}"
            )
        parts = [example_keys(inputs) for inputs, _ in passes]
        if not parts:
            raise _no_examples()
        keys = np.concatenate(parts)
        found = [_opened(one) for one in every]
        for one in found:
            _checked(one, len(keys), "`logits`")
            _check_finite(one)
        shapes = [[a.shape for a in keras.tree.flatten(one)] for one in found]
        if any(shape != shapes[0] for shape in shapes):
            raise ValueError(
                "`logits` must have one shape at all `steps`. Received: shapes "
                f"{sorted(map(str, shapes))}"
            )
        different, first, place = np.unique(
            keys, return_index=True, return_inverse=True
        )
        _check_repeated(found, first[place])
        super().__init__(
            "logits", outputs, output_kind, [_digest(one) for one in found]
        )
        if steps is not None:
            self.total_steps = counts[-1]
            self.stages = tuple(
                CachedStage(s.index, step, 0, {}, s.fingerprint)
                for s, step in zip(self.stages, counts, strict=True)
            )
        self._logits, self._rows, self._first = found, RowsByKey(different), first

    def load(self, stage: int, example: Any) -> Predict:
        """What was given of one checkpoint, as a cache asks for it."""

        def predict(inputs: Any) -> tuple[Any, dict[str, np.ndarray]]:
            rows = self._first[self._rows.find(example_keys(inputs))[0]]
            said = keras.tree.map_structure(lambda a: a[rows], self._logits[stage])
            return self._as_logits(said), {}

        return predict


def _smallest(passes: Passes) -> Any:
    """The example with the smallest key, as a batch of one."""
    found, smallest = None, None
    for inputs, _ in passes:
        keys = example_keys(inputs)
        i = int(keys.argmin())
        if smallest is None or keys[i] < smallest:
            smallest = keys[i]
            found = keras.tree.map_structure(lambda leaf, i=i: leaf[i : i + 1], inputs)
    if smallest is None:
        raise _no_examples()
    return found


def _no_examples() -> ValueError:
    return ValueError("`data` must hold examples. Received: none")


def _as_array(leaf: Any) -> Any:
    if keras.ops.is_tensor(leaf):
        return keras.ops.convert_to_numpy(leaf)
    return np.asarray(leaf)


def _counts(steps: Iterable[int] | None, n: int) -> list[int]:
    if steps is None:
        return [0]
    if not isinstance(steps, Iterable):
        raise ValueError(
            "`steps` must be numbers, one for each of `logits`. Received: "
            f"steps={shown(steps)}"
        )
    counts = [check_integer("steps", step, at_least=0) for step in steps]
    if len(counts) != n or any(a >= b for a, b in itertools.pairwise(counts)):
        raise ValueError(
            f"`steps` must be {n} increasing numbers, one for each of `logits`. "
            f"Received: steps={shown(counts)}"
        )
    return counts


def _opened(logits: Any) -> Any:
    """Arrays of numbers, those in files mapped into memory."""

    def opened(leaf: Any) -> Any:
        if isinstance(leaf, str | os.PathLike):
            path = Path(leaf)
            if path.suffix != ".npy":
                raise ValueError(
                    f"`logits` must be arrays or `.npy` files. Received: '{path}'"
                )
            leaf = np.load(path, mmap_mode="r", allow_pickle=False)
        elif not hasattr(leaf, "shape"):
            raise ValueError(
                "`logits` must be an array, a `.npy` file or a structure of such. "
                f"Received: logits={shown(leaf)}"
            )
        else:
            leaf = leaf if isinstance(leaf, np.memmap) else _as_array(leaf)
        if leaf.dtype.name == "bfloat16":
            leaf = leaf.astype(np.float32)
        if leaf.dtype.kind not in "fiu":
            raise ValueError(
                "`logits` must hold real numbers. Received: an array of dtype "
                f"{leaf.dtype}"
            )
        return leaf

    return keras.tree.map_structure(opened, logits)


def _checked(outputs: Any, n: int, argument: str) -> Any:
    for leaf in keras.tree.flatten(outputs):
        shape = tuple(getattr(leaf, "shape", ()))
        if len(shape) < 2 or shape[0] != n:
            raise ValueError(
                f"{argument} must give arrays `(n, ..., k)`, a row for each of the "
                f"n={n} examples. Received: "
                + (f"shape {shape}" if shape else shown(leaf))
            )
    return outputs


def _check_finite(logits: Any) -> None:
    for leaf in keras.tree.flatten(logits):
        for start in range(0, len(leaf), _CHECKED):
            finite = np.isfinite(leaf[start : start + _CHECKED])
            if not finite.all():
                row = start + int(np.argwhere(~finite)[0, 0])
                raise ValueError(
                    "`logits` must be finite. Received: NaN or infinite values, at "
                    f"example {row} first"
                )


def _check_repeated(found: list[Any], first: np.ndarray) -> None:
    """Refuses two answers to one example; `first`: where its like stands first."""
    again = np.flatnonzero(first != np.arange(len(first)))
    for one in found:
        for leaf in keras.tree.flatten(one):
            for row in again:
                if not np.array_equal(leaf[row], leaf[first[row]]):
                    raise ValueError(
                        "`logits` must be the same for equal examples, which a cache "
                        "knows by their content. Received: different ones for the "
                        f"equal examples {int(first[row])} and {int(row)}"
                    )


def _digest(outputs: Any) -> str:
    digest = hashlib.sha256()
    for leaf in keras.tree.flatten(outputs):
        digest.update(f"{tuple(leaf.shape)}".encode())
        for start in range(0, len(leaf), _CHECKED):
            part = np.asarray(leaf[start : start + _CHECKED], np.float32)
            digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()
