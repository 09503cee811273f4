"""Building a supervision cache: resumable, and valid only once it is whole."""

import contextlib
import dataclasses
import numbers
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeAlias

import keras
import numpy as np
from rich.console import Console

from keras_kd.arguments import (
    check_boolean,
    check_choice,
    check_folder,
    check_integer,
    shown,
)
from keras_kd.files import FolderLock, make_folder, sha256
from keras_kd.forward import as_numbers
from keras_kd.outputs import (
    FORMS,
    categorical,
    check_output_kind,
    continuous,
    decided_class,
    kind_of_classes,
    name_of,
)
from keras_kd.progress import Progress
from keras_kd.teachers.cache.blocks import BLOCK_BYTES, write_blocks
from keras_kd.teachers.cache.files import (
    BLOCKS_NAME,
    BUILDING_NAME,
    KEYS_NAME,
    LABELS_NAME,
    arrays_in,
    arrays_of,
    file_name,
    save,
)
from keras_kd.teachers.cache.folder import (
    announce,
    begun_keys,
    check_no_strangers,
    clear,
    remove_leftovers,
    same_cache,
)
from keras_kd.teachers.cache.given import GivenFunction, GivenLogits, Logits
from keras_kd.teachers.cache.manifest import MANIFEST_NAME, CacheManifest, Spec
from keras_kd.teachers.cache.packing import Packing, checked_packing, divergence
from keras_kd.teachers.cache.passes import Passes, Survey
from keras_kd.teachers.cache.source import Source
from keras_kd.teachers.cache.stage_writer import StageWriter, check_finite, check_tap
from keras_kd.teachers.cache.structure import as_json
from keras_kd.teachers.trajectory.reader import TeacherTrajectory

AnySource: TypeAlias = Source | GivenFunction | GivenLogits

_TEMPERATURES = (1.0, 4.0)


def build_cache(
    teacher: Any,
    data: Any,
    folder: str | os.PathLike[str],
    *,
    dtype: str,
    top_k: int | None,
    taps: Iterable[str],
    teacher_outputs: str,
    output_kind: Any,
    views: int | None,
    batch_size: int,
    overwrite: bool,
    progress: bool,
) -> None:
    """Makes `folder` a finished cache. See `SupervisionCache.build`."""
    packing = checked_packing(dtype, top_k)
    check_choice("teacher_outputs", teacher_outputs, FORMS)
    output_kind = check_output_kind(output_kind)
    batch_size = check_integer("batch_size", batch_size, above=0)
    overwrite = check_boolean("overwrite", overwrite)
    folder = check_folder("folder", folder)
    check_no_strangers(folder, overwrite)
    if data is None or isinstance(data, numbers.Number):
        raise ValueError(
            "`data` must be arrays of examples or a data set. Received: "
            f"data={shown(data)}"
        )
    if isinstance(taps, str) or not isinstance(taps, Iterable):
        raise ValueError(
            "`taps` must be a list of layers' paths. Received: "
            f"taps={shown(taps)}. Write taps=[{shown(taps)}]."
        )
    source, passes = _source(
        teacher, data, teacher_outputs, list(taps), output_kind, views, batch_size
    )
    console = Console(quiet=not progress)
    survey = Survey(passes)
    manifest = _request(source, passes, survey, packing)

    is_new = not folder.exists()
    make_folder(folder)
    lock = FolderLock(
        folder,
        f"A supervision cache is being built in '{folder}' by another process or "
        "thread. Wait for it, or choose another `folder`.",
    )
    try:
        # Another builder may have been here since.
        check_no_strangers(folder, overwrite)
        _build(folder, manifest, source, passes, survey, overwrite, console)
    except BaseException:
        if is_new:
            with contextlib.suppress(OSError):  # where something is in it
                folder.rmdir()
        raise
    finally:
        lock.release()


def _source(
    teacher: Any,
    data: Any,
    teacher_outputs: str,
    taps: list[str],
    output_kind: Any,
    views: int | None,
    batch_size: int,
) -> tuple[AnySource, Passes]:
    """The teacher, and passes over the data as it takes them."""
    given = isinstance(teacher, Logits)
    models = keras.layers.Layer | TeacherTrajectory
    if not given and (isinstance(teacher, models) or not callable(teacher)):
        source = Source(teacher, teacher_outputs, taps, output_kind)
        return source, Passes(_as_numbers(data, source), views, batch_size)
    if taps:
        raise ValueError(
            "`taps` are layers of a model. Received: "
            f"taps={shown(taps)} for {'logits' if given else 'a function'}"
        )
    passes = Passes(data, views, batch_size)
    said = teacher_outputs, output_kind
    if given:
        return GivenLogits(teacher.arrays, passes, *said, teacher.steps), passes
    return GivenFunction(teacher, *said, passes), passes


def _build(
    folder: Path,
    manifest: CacheManifest,
    source: AnySource,
    passes: Passes,
    survey: Survey,
    overwrite: bool,
    console: Console,
) -> None:
    packing, progress = manifest.packing, not console.quiet
    same = same_cache(folder, manifest, overwrite)
    if same == MANIFEST_NAME:
        remove_leftovers(folder)
        return
    arrays = arrays_of(manifest.spec, packing)
    announce(folder, arrays, manifest, console)
    keys = begun_keys(folder, survey) if same == BUILDING_NAME else None
    if keys is None:
        clear(folder)
        # First, for it says whose the others are.
        manifest.write(folder, BUILDING_NAME)
        keys = survey.keys
        if survey.labels is not None:
            save(folder / LABELS_NAME, survey.labels)
        save(folder / KEYS_NAME, keys)
    with Progress(console=console, disable=not progress) as bar:
        task = bar.add_task("teacher's predictions", total=len(source) * survey.batches)
        for stage in range(len(source)):
            writer = StageWriter(folder, stage, arrays, keys)
            if writer.finished:
                bar.advance(task, survey.batches)
                continue
            predict = source.load(stage, survey.first)
            for inputs, _ in passes:
                writer.write(inputs, predict, packing, manifest.spec)
                bar.advance(task)
            writer.flush()
            writer.check_finished()
    _finish(folder, manifest)


def _as_numbers(data: Any, source: Source) -> Any:
    """The data, strings as the teacher's own preprocessor reads them."""
    if not isinstance(data, tuple):
        return as_numbers((data, None, None), {"teacher": source.model})[0]
    batch = keras.utils.unpack_x_y_sample_weight(data)
    return keras.utils.pack_x_y_sample_weight(
        *as_numbers(batch, {"teacher": source.model})
    )


def _request(
    source: AnySource, passes: Passes, survey: Survey, packing: Packing
) -> CacheManifest:
    """The manifest of what is to be built."""
    outputs, taps = source.load(len(source) - 1, survey.first)(survey.first)
    leaves = keras.tree.flatten(outputs)
    for leaf in leaves:
        check_finite(leaf, source.stages[-1])
    for path, leaf in taps.items():
        check_tap(path, leaf, packing.dtype)
    known = source.output_kinds(outputs)
    kinds = [
        kind or kind_of_classes(leaf.shape[-1])
        for kind, leaf in zip(known, leaves, strict=True)
    ]
    units = [leaf.shape[-1] for leaf in leaves]
    if packing.top_k is not None and packing.top_k > max(units):
        raise ValueError(
            "`top_k` must be at most the number of classes. Received: "
            f"top_k={packing.top_k} for outputs of {units} units. Leave it out to keep "
            "all logits."
        )
    cut = [kind for kind, leaf in zip(kinds, leaves, strict=True) if packing.cuts(leaf)]
    if any(kind is not categorical for kind in cut):
        names = [kind.NAME for kind in kinds]
        raise ValueError(
            "`top_k` keeps the largest logits of a softmax. Received: "
            f"top_k={packing.top_k} for outputs that are {names}. Keep all of them."
        )
    if packing.dtype == "float16" and continuous in kinds:
        raise ValueError(
            "`dtype` must be 'float32' for values: in float16 those far below the "
            "largest of an example are lost, which a softmax does not mind. Received: "
            f"dtype='float16' for outputs that are {[kind.NAME for kind in kinds]}"
        )
    # In the order of `flatten`, in which `map_structure` does not go everywhere.
    structure = keras.tree.pack_sequence_as(outputs, list(range(len(leaves))))
    spec = Spec(
        as_json(survey.inputs, lambda leaf: leaf.json()),
        as_json(structure),
        tuple(tuple(leaf.shape[1:]) for leaf in leaves),
        {path: tuple(leaf.shape[1:]) for path, leaf in taps.items()},
    )
    loss = {
        f"{temperature:g}": max(
            divergence(
                leaf,
                packing.unpack(packing.pack(leaf), leaf.shape[-1]),
                temperature,
                kind,
            )
            for leaf, kind in zip(leaves, kinds, strict=True)
        )
        for temperature in _TEMPERATURES
    }
    return CacheManifest(
        teacher=source.name,
        teacher_outputs=source.outputs,
        total_steps=source.total_steps,
        stages=source.stages,
        n=len(survey.keys),
        key_bits=64,
        views=passes.views,
        data=survey.fingerprint(survey.keys),
        ranges=tuple(survey.ranges),
        labels=None if survey.labels is None else survey.fingerprint(survey.labels),
        spec=spec,
        packing=packing,
        divergence=loss,
        files={},
        output_kinds=[name_of(kind) for kind in known],
    )


def _finish(folder: Path, manifest: CacheManifest) -> None:
    labels = np.load(folder / LABELS_NAME) if manifest.labels else None
    stages = []
    for stage in manifest.stages:
        accuracy = _accuracy(folder, stage.index, manifest, labels)
        stages.append(dataclasses.replace(stage, accuracy=accuracy))
    write_blocks(folder, arrays_in(manifest), BLOCK_BYTES)
    files = {
        name: {"size": (folder / name).stat().st_size, "sha256": sha256(folder / name)}
        for name in (*arrays_in(manifest), BLOCKS_NAME)
    }
    whole = dataclasses.replace(
        manifest, stages=tuple(stages), files=files, block_bytes=BLOCK_BYTES
    )
    whole.write(folder)
    remove_leftovers(folder)


def _accuracy(
    folder: Path, stage: int, manifest: CacheManifest, labels: np.ndarray | None
) -> float | None:
    shapes = manifest.spec.logits
    if labels is None or len(shapes) != 1 or len(shapes[0]) != 1:
        return None
    packing, (classes,) = manifest.packing, shapes[0]
    (known,) = manifest.output_kinds or [None]
    if known not in (None, kind_of_classes(classes).NAME):
        return None
    parts = {
        part: np.load(folder / file_name(stage, f"output-0.{part}"), mmap_mode="r")
        for part in packing.parts((classes,))
    }
    right = 0
    for start in range(0, len(labels), 65_536):
        rows = slice(start, start + 65_536)
        logits = packing.unpack({k: v[rows] for k, v in parts.items()}, classes)
        right += int(np.count_nonzero(decided_class(logits) == labels[rows]))
    return right / len(labels)
