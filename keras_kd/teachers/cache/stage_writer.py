"""Writes one stage of a cache, so that a build that was stopped can go on.

What has been written is known by a checksum for each example, of its key and of what
all arrays hold of it. A build that goes on compares them, and does again whatever a
crash or a damage has left otherwise.
"""

import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import xxhash

from keras_kd.teachers.cache.files import (
    Arrays,
    allocate,
    done_name,
    file_name,
    map_array,
    save,
)
from keras_kd.teachers.cache.keys import RowsByKey, example_keys
from keras_kd.teachers.cache.manifest import CachedStage, Spec
from keras_kd.teachers.cache.packing import Packing
from keras_kd.teachers.cache.source import Predict

# Seconds of work that a crash may cost.
_FLUSH_AFTER = 5.0
_LARGEST_HALF = 65504.0
# Examples whose checksums are worked out at once.
_COMPARED = 1024


class StageWriter:
    """Writes the arrays of one stage, and keeps account of what has reached the disk.

    Raises:
        OSError: the disk is full.
    """

    def __init__(
        self, folder: Path, stage: int, arrays: Arrays, keys: np.ndarray
    ) -> None:
        self._stage, self._keys = stage, keys
        self._rows = RowsByKey(keys)
        sums, files = folder / done_name(stage), {}
        for name, (shape, dtype) in arrays.items():
            files[name] = folder / file_name(stage, name), (len(keys), *shape), dtype
        try:
            for file in files.values():
                map_array(*file)
            map_array(sums, keys.shape, "uint64")
        except (FileNotFoundError, ValueError):
            sums.unlink(missing_ok=True)
            for file in files.values():
                allocate(*file)
            save(sums, np.zeros(len(keys), np.uint64))
        self._sums = np.load(sums, mmap_mode="r+")
        self._arrays: dict[str, Any] = {
            name: np.load(path, mmap_mode="r+") for name, (path, _, _) in files.items()
        }
        self._written: list[tuple[np.ndarray, np.ndarray]] = []
        self._done = np.zeros(len(keys), bool)
        for start in range(0, len(keys), _COMPARED):
            rows = start + np.flatnonzero(self._sums[start : start + _COMPARED])
            if len(rows):
                self._done[rows] = self._sums[rows] == self._sums_of(rows)
        self._flushed = time.monotonic()

    @property
    def finished(self) -> bool:
        """Whether all examples are done."""
        return bool(self._done.all())

    def check_finished(self) -> None:
        """Refuses data that left out, in the pass just ended, what it gave before."""
        if not self.finished:
            raise ValueError(
                "`data` must give the same examples in every pass. Received: data of "
                f"which {np.count_nonzero(~self._done)} of {len(self._done)} examples "
                "were there in the first pass only. Does it draw them at random?"
            )

    def write(
        self, inputs: Any, predict: Predict, packing: Packing, spec: Spec
    ) -> None:
        """Runs the teacher on those examples of a batch that are not done yet.

        Raises:
            ValueError: the first pass had no such example, or the teacher's outputs
                are not finite.
        """
        rows, known = self._rows.find(example_keys(inputs))
        if not known.all():
            raise ValueError(
                "`data` must give the same examples in every pass. Received: data of "
                f"which {np.count_nonzero(~known)} of {len(known)} examples of a batch "
                "were not there in the first pass. Does it augment? Then give it a "
                "number of views: `Batches(..., augment=..., views=8)`, or a function "
                "of the view."
            )
        if self._done[rows].all():
            return
        outputs, taps = predict(inputs)
        for i, leaf in enumerate(keras.tree.flatten(outputs)):
            check_finite(leaf, self._stage)
            for part, values in packing.pack(leaf).items():
                self._arrays[f"output-{i}.{part}"][rows] = values
        for i, path in enumerate(spec.taps):
            check_tap(path, taps[path], packing.dtype)
            self._arrays[f"tap-{i}"][rows] = taps[path]
        self._written.append((rows, self._sums_of(rows)))
        if time.monotonic() - self._flushed > _FLUSH_AFTER:
            self.flush()

    def flush(self) -> None:
        """Makes what was written count, once it has reached the disk."""
        for array in self._arrays.values():
            array.flush()
        for rows, sums in self._written:
            self._sums[rows] = sums
            self._done[rows] = True
        self._sums.flush()
        self._written.clear()
        self._flushed = time.monotonic()

    def _sums_of(self, rows: np.ndarray) -> np.ndarray:
        """A checksum of each of these examples, as the arrays hold it; never 0."""
        parts = [
            np.ascontiguousarray(array[rows]).reshape(len(rows), -1).view(np.uint8)
            for array in self._arrays.values()
        ]
        sums = np.fromiter(
            (
                xxhash.xxh3_64_intdigest(row, seed=int(key))
                for row, key in zip(np.hstack(parts), self._keys[rows], strict=True)
            ),
            np.uint64,
            len(rows),
        )
        return np.maximum(sums, 1)


def check_tap(path: str, features: np.ndarray, dtype: str) -> None:
    """Refuses what a tapped layer gives where it cannot be held.

    Raises:
        ValueError: it is not finite, or float16 has no room for it.
    """
    largest = float(np.abs(features).max(initial=0.0))
    if not np.isfinite(largest):
        raise ValueError(
            f"What the tapped layer '{path}' gives must be finite. Received: NaN or "
            "infinite values."
        )
    if dtype != "float16":
        return
    lost = float(np.abs(features - _half(features)).max(initial=0.0))
    # Ten bits hold a number to 1/2048 of itself.
    if largest > _LARGEST_HALF or lost > largest / 1024:
        raise ValueError(
            "`dtype` must be 'float32' for taps that float16 cannot hold. Received: "
            f"dtype='float16', and the tapped layer '{path}' gives values up to "
            f"{largest:.3g}."
        )


def _half(features: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore", under="ignore"):
        return features.astype(np.float16).astype(np.float32)


def check_finite(logits: np.ndarray, stage: CachedStage | int) -> None:
    """Refuses what a teacher says that has diverged.

    Raises:
        ValueError: a logit is not finite; names the stage.
    """
    if not np.isfinite(logits).all():
        raise ValueError(
            "The teacher's outputs must be finite. Received: NaN or infinite values "
            f"at {stage if isinstance(stage, CachedStage) else f'checkpoint {stage}'}."
        )
