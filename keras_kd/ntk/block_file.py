"""Where a kernel's blocks go: memory, the caller's array, or a file that resumes."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any, cast

import keras
import numpy as np
from numpy.typing import DTypeLike, NDArray

from keras_kd.files import write_json
from keras_kd.ntk.jacobian import FactoredJacobian


class BlockFile:
    """The kernel's array, and which of its blocks are done.

    Args:
        out: `None`, an array, or a path of a `.npy` file.
        shape: of the kernel.
        dtype: of the kernel.
        left: rows.
        right: columns; `None`: symmetric.
        block: examples a block; a file that was begun keeps its own.

    Raises:
        ValueError: `out` has another shape or dtype, or the file was begun with
            another model, weights or examples.
    """

    def __init__(
        self,
        out: NDArray[Any] | str | os.PathLike[str] | None,
        shape: tuple[int, ...],
        dtype: DTypeLike,
        left: FactoredJacobian,
        right: FactoredJacobian | None,
        block: int,
    ) -> None:
        self.block = block
        self.symmetric = right is None
        self._progress: Path | None = None
        self._done: set[tuple[int, int]] = set()
        self.array: NDArray[Any] | None = None
        self._shape, self._dtype = shape, dtype
        if out is None:
            return
        path = None
        if isinstance(out, str | os.PathLike):
            path = Path(out)
        elif not isinstance(out, np.ndarray):
            raise ValueError(
                "`out` must be a NumPy array, a memory-mapped one, or the path of a "
                f".npy file. Received: out of type {type(out).__name__}"
            )
        elif out.shape != shape or out.dtype != dtype:
            raise ValueError(
                f"`out` must have shape {shape} and dtype {np.dtype(dtype)}. Received: "
                f"shape {out.shape} and dtype {out.dtype}"
            )
        elif isinstance(out, np.memmap) and out.filename is not None:
            self._progress = Path(f"{out.filename}.progress.json")
        if path is not None:
            self._progress = Path(f"{path}.progress.json")
        state = {"kernel": _fingerprint(left, right), "shape": list(shape)}
        known = self._read(state, path or out)
        if path is None:
            self.array = cast(NDArray[Any], out)
        elif path.exists():
            self.array = np.lib.format.open_memmap(path, mode="r+")
            if self.array.shape != shape or self.array.dtype != dtype:
                raise ValueError(
                    f"`out` must have shape {shape} and dtype {np.dtype(dtype)}. "
                    f"Received: {path} with shape {self.array.shape} and dtype "
                    f"{self.array.dtype}"
                )
        else:
            known = None
            self.array = np.lib.format.open_memmap(path, "w+", dtype, shape)
        if known is not None:
            self.block = known["block"]
            self._done = {(i, j) for i, j in known["done"]}
        self._state = {**state, "block": self.block}

    def _read(self, state: dict[str, Any], out: object) -> dict[str, Any] | None:
        if self._progress is None or not self._progress.exists():
            return None
        known: dict[str, Any] = json.loads(self._progress.read_text())
        if {key: known.get(key) for key in state} != state:
            raise ValueError(
                f"`out` was begun with another model, weights, examples or options. "
                f"Received: out={str(getattr(out, 'filename', out))!r}. Delete it and "
                f"{self._progress} to begin anew."
            )
        return known

    def is_done(self, i: slice, j: slice) -> bool:
        """Whether the block was written, by this run or by one that was stopped."""
        return (i.start, j.start) in self._done

    def write(self, i: slice, j: slice, block: NDArray[Any]) -> None:
        """Puts a block, and its mirror image, where they belong."""
        if self.array is None and block.shape == self._shape:
            # One block is all there is.
            self.array = block
            return
        if self.array is None:
            self.array = np.zeros(self._shape, self._dtype)
        self.array[i, j] = block
        if self.symmetric and i != j:
            axes = (1, 0, *range(2, block.ndim))
            # The outputs change places too.
            axes = (1, 0, 3, 2) if block.ndim == 4 else axes
            self.array[j, i] = block.transpose(axes)
        self._done.add((i.start, j.start))
        if self._progress is not None:
            if isinstance(self.array, np.memmap):
                self.array.flush()
            state = {**self._state, "done": sorted(self._done)}
            write_json(self._progress, state, indent=None)

    def finish(self) -> NDArray[Any]:
        """The whole kernel."""
        assert self.array is not None
        return self.array


def _fingerprint(left: FactoredJacobian, right: FactoredJacobian | None) -> str:
    """Of all that the kernel depends on."""
    digest = hashlib.sha256()
    digest.update(repr((left.places, left.form)).encode())
    digest.update(left.outputs.vectors.tobytes())
    for variable in left.model.variables:
        digest.update(keras.ops.convert_to_numpy(variable).tobytes())
    for side in (left, right):
        for leaf in keras.tree.flatten(side.examples.values if side else []):
            digest.update(repr((leaf.shape, str(leaf.dtype))).encode())
            digest.update(leaf.tobytes())
    return digest.hexdigest()
