"""What a kernel's file was begun with, and the checksums of its blocks."""

import hashlib
import re
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from numpy.typing import NDArray

from keras_kd.arguments import is_integer
from keras_kd.files import read_json, write_json
from keras_kd.keras_internals import flatten_layers
from keras_kd.ntk.jacobian import FactoredJacobian
from keras_kd.version import __version__

# Relative, of the kernel's diagonal: what rounding makes of the same model elsewhere.
_SAME = 1e-4


class Origin(NamedTuple):
    """All that a kernel depends on.

    Attributes:
        version: of this library.
        weights: a digest, as of what follows.
        layers: of the model.
        examples: of both sides.
        options: which outputs, which weights, and the kernel's shape and dtype.
        diagonal: of the first few examples, in float64. Models of equal weights and
            layers that compute in another way (an activation) differ in it.
    """

    version: str
    weights: str
    layers: str
    examples: str
    options: str
    diagonal: list[float]

    def difference(self, other: dict[str, Any]) -> str | None:
        """What another one was made of, `None` where both are the same."""
        names = {
            "version": f"version of keras_kd ({other.get('version')!r})",
            "layers": "architecture",
            "weights": "weights",
            "examples": "examples",
            "options": "options",
        }
        for field, name in names.items():
            if other.get(field) != getattr(self, field):
                return name
        try:
            there = np.asarray(other.get("diagonal"), np.float64)
        except (TypeError, ValueError):
            return "model"
        here = np.asarray(self.diagonal)
        # Of their largest: small ones are rounding.
        limit = _SAME * np.abs(here).max()
        same = there.shape == here.shape and np.all(np.abs(there - here) <= limit)
        return None if same else "model"


def origin_of(
    left: FactoredJacobian,
    right: FactoredJacobian | None,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
) -> Origin:
    """What a kernel is of."""
    weights, examples = hashlib.sha256(), hashlib.sha256()
    for variable in left.model.variables:
        weights.update(keras.ops.convert_to_numpy(variable).tobytes())
    for side in (left, right):
        examples.update(b"|")
        for leaf in keras.tree.flatten(side.examples.values if side else []):
            examples.update(repr((leaf.shape, str(leaf.dtype))).encode())
            examples.update(leaf.tobytes())
    layers = [type(layer).__qualname__ for layer in flatten_layers(left.model)]
    options = hashlib.sha256(left.outputs.vectors.tobytes())
    options.update(repr((left.places, left.form, shape, str(dtype))).encode())
    norms = [f.in_dtype(np.float64).squared_norms("trace") for f in left.sample]
    return Origin(
        __version__,
        weights.hexdigest(),
        hashlib.sha256(repr(layers).encode()).hexdigest(),
        examples.hexdigest(),
        options.hexdigest(),
        [float(number) for number in np.sum(norms, axis=0)],
    )


class BlockRecord:
    """The record of one file, written anew after each block.

    Args:
        path: of the record.
        origin: of the kernel.
        block: examples a block; a record that is there has its own.

    Attributes:
        sums: `{(first row, first column): checksum}` of the blocks that were written.

    Raises:
        ValueError: the record is damaged, or of another kernel.
    """

    def __init__(self, path: Path, origin: Origin, block: int) -> None:
        self._path, self._origin = path, origin
        self.block = block
        self.sums: dict[tuple[int, int], str] = {}

    def read(self, out: str, largest: int) -> None:
        """Takes over what is there.

        Args:
            out: as it is called in messages.
            largest: number of examples, which no block exceeds.
        """
        anew = f"Delete it and '{self._path}' to begin anew."
        try:
            known = read_json(self._path)
            origin, block, sums = known["origin"], known["block"], known["blocks"]
            difference = self._origin.difference(origin)
            valid = is_integer(block, at_least=1) and block <= largest
            valid = valid and all(_is_entry(*entry) for entry in sums)
        except (ValueError, TypeError, KeyError, AttributeError):
            raise ValueError(
                f"`out` must have a readable record. Received: {out}, and "
                f"'{self._path}', which is damaged or of another version. {anew}"
            ) from None
        if difference:
            raise ValueError(
                f"`out` was begun with another {difference}. Received: {out}. {anew}"
            )
        if not valid:
            raise ValueError(
                f"`out` must have a readable record. Received: {out}, and "
                f"'{self._path}' with blocks that there are not. {anew}"
            )
        self.block = block
        self.sums = {(i, j): checksum for i, j, checksum in sums}

    def write(self) -> None:
        """Brings the record to the disk."""
        content = {
            "origin": self._origin._asdict(),
            "block": self.block,
            "blocks": [[*key, self.sums[key]] for key in sorted(self.sums)],
        }
        write_json(self._path, content, indent=None)


def checksum(block: NDArray[Any]) -> str:
    """The SHA-256 of a block's numbers."""
    digest = hashlib.sha256()
    for row in block:
        # One at a time: a copy of a whole block may not fit.
        digest.update(row.tobytes())
    return digest.hexdigest()


def _is_entry(i: object, j: object, checksum: object) -> bool:
    places = is_integer(i, at_least=0) and is_integer(j, at_least=0)
    return places and bool(re.fullmatch("[0-9a-f]{64}", str(checksum)))
