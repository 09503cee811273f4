"""Building a supervision cache: resumable, and valid only once it is whole."""

import dataclasses
import hashlib
import shutil
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
from rich.console import Console

from keras_kd import backend
from keras_kd.forward.taps import find_layer
from keras_kd.outputs.form import KINDS, check_last_activation
from keras_kd.progress import Progress
from keras_kd.teachers.cache.files import (
    BUILDING_NAME,
    KEYS_NAME,
    LABELS_NAME,
    allocate,
    arrays_of,
    bytes_of,
    done_name,
    file_name,
    full_disk,
    gigabytes,
    is_ours,
    save,
)
from keras_kd.teachers.cache.keys import RowsByKey, example_keys
from keras_kd.teachers.cache.manifest import (
    MANIFEST_NAME,
    CachedStage,
    CacheManifest,
    Spec,
    as_json,
)
from keras_kd.teachers.cache.packing import Packing, checked_packing, divergence
from keras_kd.teachers.cache.passes import Passes, Survey
from keras_kd.teachers.live import LiveTeacher
from keras_kd.teachers.trajectory.reader import TeacherTrajectory

# Seconds of work that a crash may cost.
_FLUSH_AFTER = 5.0
_TEMPERATURES = (1.0, 4.0)


def build_cache(
    teacher,
    data,
    folder: str | Path,
    *,
    dtype,
    top_k,
    taps,
    teacher_outputs: str,
    views: int | None,
    batch_size: int,
    overwrite: bool,
    progress: bool,
) -> None:
    """Makes `folder` a finished cache. See `SupervisionCache.build`."""
    packing = checked_packing(dtype, top_k)
    if teacher_outputs not in KINDS:
        raise ValueError(
            f"`teacher_outputs` must be one of {list(KINDS)}. Received: "
            f"teacher_outputs={teacher_outputs!r}"
        )
    if not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(
            f"`batch_size` must be an integer > 0. Received: batch_size={batch_size!r}"
        )
    folder = Path(folder)
    _check_folder(folder)
    source = _Source(teacher, teacher_outputs, list(taps))
    passes = Passes(data, views, batch_size)
    console = Console(quiet=not progress)
    survey = Survey(passes)
    manifest = _request(source, passes, survey, packing)

    same = _same_cache(folder, manifest, overwrite)
    if same == MANIFEST_NAME:
        _remove_leftovers(folder)
        return
    arrays = arrays_of(manifest.spec, packing)
    _announce(folder, arrays, manifest, console)
    folder.mkdir(parents=True, exist_ok=True)
    if same == BUILDING_NAME:
        # The rows are in the order of the pass that began it.
        keys = np.load(folder / KEYS_NAME)
    else:
        _clear(folder)
        keys = survey.keys
        save(folder / KEYS_NAME, keys)
        if survey.labels is not None:
            save(folder / LABELS_NAME, survey.labels)
        manifest.write(folder, BUILDING_NAME)
    with Progress(console=console, disable=not progress) as bar:
        task = bar.add_task("teacher's predictions", total=len(source) * survey.batches)
        for stage in range(len(source)):
            writer = _StageWriter(folder, stage, arrays, keys)
            if writer.finished:
                bar.advance(task, survey.batches)
                continue
            predict = source.load(stage, survey.first)
            for inputs, _ in passes:
                writer.write(inputs, predict, packing, manifest.spec)
                bar.advance(task)
            writer.flush()
            writer.check_finished()
    _finish(folder, manifest, arrays)


class _Source:
    """The teacher, stage by stage.

    Args:
        teacher: a built `keras.Model`, or a `TeacherTrajectory`.
        outputs: `"logits"` or `"probabilities"`.
        taps: paths of layers whose outputs are wanted too.

    Raises:
        ValueError: the teacher is something else, is not built, or has no such layer.
    """

    def __init__(self, teacher, outputs: str, taps: list[str]):
        self._trajectory = teacher if isinstance(teacher, TeacherTrajectory) else None
        if self._trajectory is not None:
            self._trajectory.check()
            model = self._trajectory.load(-1)
            self.total_steps = self._trajectory.total_steps
            self.stages = tuple(
                CachedStage(c.index, c.step, c.epoch, dict(c.metrics), c.sha256)
                for c in self._trajectory
            )
        elif isinstance(teacher, keras.Model) and teacher.built:
            model, self.total_steps = teacher, 0
            self.stages = (CachedStage(0, 0, 0, {}, weights_fingerprint(model)),)
        else:
            raise ValueError(
                "`teacher` must be a built `keras.Model` or a "
                f"`keras_kd.TeacherTrajectory`. Received: {teacher!r}"
            )
        check_last_activation(model, outputs, "teacher_outputs")
        layers = {path: find_layer(model, path) for path in taps}
        self.name, self.outputs = model.name, outputs
        self._model = model
        self._live = LiveTeacher(model, outputs, layers)
        self._live.check_finite()
        self._predict = backend.compile_forward(self._forward)

    def __len__(self) -> int:
        return len(self.stages)

    def _forward(self, trainable, non_trainable, inputs):
        supervision = self._live.supervise(inputs, (trainable, non_trainable))
        taps = {
            path: supervision.taps.output(layer)
            for path, layer in self._live.layers.items()
        }
        return supervision.outputs, taps

    def load(self, stage: int, example):
        """A function from inputs to logits and tapped outputs, of one stage.

        Args:
            stage: its index.
            example: a batch, by whose size all batches are run.
        """
        if self._trajectory is not None:
            self._trajectory.load(stage, self._model)
        rows = len(keras.tree.flatten(example)[0])
        values = self._live.values()

        def predict(inputs):
            n = len(keras.tree.flatten(inputs)[0])
            # A smaller last batch would be compiled for itself.
            chosen = np.minimum(np.arange(max(rows, n)), n - 1)
            tensors = keras.tree.map_structure(
                lambda leaf: keras.ops.convert_to_tensor(leaf[chosen]), inputs
            )
            return keras.tree.map_structure(
                lambda leaf: backend.to_numpy(keras.ops.cast(leaf, "float32"))[:n],
                self._predict(*values, tensors),
            )

        return predict


def weights_fingerprint(model) -> str:
    """SHA-256 of a model's weights, in their order."""
    digest = hashlib.sha256()
    for variable in model.weights:
        value = np.ascontiguousarray(keras.ops.convert_to_numpy(variable.value))
        digest.update(f"{value.shape} {value.dtype}".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()


def _request(source: _Source, passes: Passes, survey: Survey, packing: Packing):
    """The manifest of what is to be built."""
    outputs, taps = source.load(len(source) - 1, survey.first)(survey.first)
    leaves = keras.tree.flatten(outputs)
    for leaf in leaves:
        _check_finite(leaf, source.stages[-1])
    positions = iter(range(len(leaves)))
    structure = keras.tree.map_structure(lambda _: next(positions), outputs)
    spec = Spec(
        as_json(survey.inputs, lambda leaf: leaf.json()),
        as_json(structure),
        tuple(tuple(leaf.shape[1:]) for leaf in leaves),
        {path: tuple(leaf.shape[1:]) for path, leaf in taps.items()},
    )
    loss = {
        f"{temperature:g}": max(
            divergence(
                leaf, packing.unpack(packing.pack(leaf), leaf.shape[-1]), temperature
            )
            for leaf in leaves
        )
        for temperature in _TEMPERATURES
    }
    return CacheManifest(
        teacher=source.name,
        teacher_outputs=source.outputs,
        total_steps=source.total_steps,
        stages=source.stages,
        n=len(survey.keys),
        views=passes.views,
        data=survey.fingerprint(survey.keys),
        ranges=tuple(survey.ranges),
        labels=None if survey.labels is None else survey.fingerprint(survey.labels),
        spec=spec,
        packing=packing,
        divergence=loss,
        files={},
    )


class _StageWriter:
    """Writes the arrays of one stage, and keeps account of what has reached the disk.

    Raises:
        OSError: the disk is full.
    """

    def __init__(self, folder: Path, stage: int, arrays, keys: np.ndarray):
        self._stage = stage
        self._rows = RowsByKey(keys)
        done = folder / done_name(stage)
        if not done.exists():
            for name, (shape, dtype) in arrays.items():
                allocate(folder / file_name(stage, name), (len(keys), *shape), dtype)
            save(done, np.zeros(len(keys), bool))
        self._done = np.load(done, mmap_mode="r+")
        self._written: list[np.ndarray] = []
        self._arrays: dict[str, Any] = {}
        if not self.finished:
            self._arrays = {
                name: np.load(folder / file_name(stage, name), mmap_mode="r+")
                for name in arrays
            }
        self._flushed = time.monotonic()

    @property
    def finished(self) -> bool:
        return bool(self._done.all())

    def check_finished(self) -> None:
        """Refuses data that left out, in the pass just ended, what it gave before."""
        if not self.finished:
            raise ValueError(
                "`data` must give the same examples in every pass. Received: data of "
                f"which {np.count_nonzero(~self._done)} of {len(self._done)} examples "
                "were there in the first pass only. Does it draw them at random?"
            )

    def write(self, inputs, predict, packing: Packing, spec: Spec) -> None:
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
            _check_finite(leaf, self._stage)
            for part, values in packing.pack(leaf).items():
                self._arrays[f"output-{i}.{part}"][rows] = values
        for i, path in enumerate(spec.taps):
            self._arrays[f"tap-{i}"][rows] = taps[path]
        self._written.append(rows)
        if time.monotonic() - self._flushed > _FLUSH_AFTER:
            self.flush()

    def flush(self) -> None:
        """Makes what was written count, once it has reached the disk."""
        for array in self._arrays.values():
            array.flush()
        for rows in self._written:
            self._done[rows] = True
        self._done.flush()
        self._written.clear()
        self._flushed = time.monotonic()


def _check_finite(logits: np.ndarray, stage) -> None:
    if not np.isfinite(logits).all():
        raise ValueError(
            "The teacher's outputs must be finite. Received: NaN or infinite values "
            f"at {stage if isinstance(stage, CachedStage) else f'checkpoint {stage}'}."
        )


def _check_folder(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"`folder` must be a folder. Received: '{folder}', a file.")
    strangers = (
        [path.name for path in folder.iterdir() if not is_ours(path)]
        if folder.exists()
        else []
    )
    if strangers:
        raise ValueError(
            "`folder` must be empty or hold a supervision cache. Received: "
            f"'{folder}', in which there is '{sorted(strangers)[0]}'."
        )


def _same_cache(folder: Path, wanted: CacheManifest, overwrite: bool) -> str | None:
    """The name of the manifest in `folder` that is of the wanted cache, whole or begun.

    Returns:
        `None` where there is no cache, or one to be replaced.

    Raises:
        ValueError: there is another cache, or a manifest that cannot be read, and
            `overwrite` is false.
    """
    for name in (MANIFEST_NAME, BUILDING_NAME):
        if not (folder / name).exists():
            continue
        try:
            there = CacheManifest.read(folder, name)
        except ValueError:
            if overwrite:
                return None
            raise
        different = there.differences(wanted)
        if overwrite and (different or not _is_whole(folder, there)):
            return None
        if not different:
            return name
        raise ValueError(
            f"`folder` must be empty or hold the same cache. Received: '{folder}', "
            f"which holds one of another {', '.join(different)}. Choose another "
            "folder, or have this one replaced with overwrite=True (--overwrite)."
        )
    return None


def _is_whole(folder: Path, manifest: CacheManifest) -> bool:
    """Whether the files are as they were when the cache was finished."""
    return all(
        (folder / name).is_file()
        and (folder / name).stat().st_size == file["size"]
        and sha256(folder / name) == file["sha256"]
        for name, file in manifest.files.items()
    )


def _clear(folder: Path) -> None:
    """Removes a cache that is to be replaced: what makes it one first.

    Without a manifest, keys and labels may be somebody else's: these names are common.
    """
    manifests = [folder / MANIFEST_NAME, folder / BUILDING_NAME]
    was_cache = any(path.exists() for path in manifests)
    for path in manifests:
        path.unlink(missing_ok=True)
    for path in folder.iterdir():
        if was_cache or path.name not in (KEYS_NAME, LABELS_NAME):
            path.unlink()


def _announce(folder: Path, arrays, manifest: CacheManifest, console: Console) -> None:
    """Says what disk is needed.

    Raises:
        OSError: there is less.
    """
    one, n, stages = bytes_of(arrays, manifest.n), manifest.n, len(manifest.stages)
    there = sum(p.stat().st_size for p in folder.iterdir()) if folder.exists() else 0
    # Keys, sums and labels beside the stages' arrays.
    needed = one * stages + n * (17 + stages)
    existing = next(p for p in (folder, *folder.resolve().parents) if p.exists())
    free = shutil.disk_usage(existing).free
    console.print(
        f"{n:,} examples, {stages} checkpoint{'s' if stages > 1 else ''}: "
        f"{gigabytes(needed)} in '{folder}'"
    )
    if needed - there > free:
        raise full_disk(folder, needed - there, free)


def _finish(folder: Path, manifest: CacheManifest, arrays) -> None:
    labels = np.load(folder / LABELS_NAME) if manifest.labels else None
    stages, names = [], [KEYS_NAME] + [LABELS_NAME] * (manifest.labels is not None)
    for stage in manifest.stages:
        names += [file_name(stage.index, name) for name in arrays]
        accuracy = _accuracy(folder, stage.index, manifest, labels)
        stages.append(dataclasses.replace(stage, accuracy=accuracy))
    files = {
        name: {"size": (folder / name).stat().st_size, "sha256": sha256(folder / name)}
        for name in names
    }
    dataclasses.replace(manifest, stages=tuple(stages), files=files).write(folder)
    _remove_leftovers(folder)


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _accuracy(folder: Path, stage: int, manifest: CacheManifest, labels):
    shapes = manifest.spec.logits
    if labels is None or len(shapes) != 1 or len(shapes[0]) != 1:
        return None
    packing, (classes,) = manifest.packing, shapes[0]
    parts = {
        part: np.load(folder / file_name(stage, f"output-0.{part}"), mmap_mode="r")
        for part in packing.parts((classes,))
    }
    right = 0
    for start in range(0, len(labels), 65_536):
        rows = slice(start, start + 65_536)
        logits = packing.unpack({k: v[rows] for k, v in parts.items()}, classes)
        guess = logits[:, 0] > 0 if classes == 1 else logits.argmax(axis=1)
        right += int(np.count_nonzero(guess == labels[rows]))
    return right / len(labels)


def _remove_leftovers(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name == BUILDING_NAME or path.name.endswith((".done.npy", ".tmp")):
            path.unlink()
