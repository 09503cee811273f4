"""What is in the folder of a cache: this cache, another one, or something else."""

import shutil
from pathlib import Path

import numpy as np
from rich.console import Console

from keras_kd.files import sha256, sync
from keras_kd.teachers.cache.files import (
    BUILDING_NAME,
    KEYS_NAME,
    LABELS_NAME,
    Arrays,
    bytes_of,
    full_disk,
    gigabytes,
    is_ours,
    map_array,
)
from keras_kd.teachers.cache.manifest import MANIFEST_NAME, CacheManifest
from keras_kd.teachers.cache.passes import Survey

_MANIFESTS = (MANIFEST_NAME, BUILDING_NAME)


def check_no_strangers(folder: Path, overwrite: bool) -> None:
    """Refuses a folder with files that no cache has, or that may be somebody else's.

    Raises:
        ValueError: names one of them.
    """
    there = sorted(folder.iterdir()) if folder.exists() else []
    strangers = [path.name for path in there if not is_ours(path)]
    advice = "Choose another `folder`."
    names = {path.name for path in there}
    if not strangers and not overwrite and names.isdisjoint(_MANIFESTS):
        # Keys and labels are common names, and nothing says that these are a cache's.
        strangers = sorted(names - {f"{BUILDING_NAME}.tmp"})
        advice = "Choose another `folder`, or have it replaced with overwrite=True."
    if strangers:
        raise ValueError(
            "`folder` must be empty or hold a supervision cache. Received: "
            f"'{folder}', in which there is '{strangers[0]}'. {advice}"
        )


def begun_keys(folder: Path, survey: Survey) -> np.ndarray | None:
    """The keys of a begun build, in its order, if they and its labels are the data's.

    Its rows are in the order of the pass that began it.
    """
    try:
        keys = np.array(map_array(folder / KEYS_NAME, survey.keys.shape, "uint64"))
        order, ours = np.argsort(keys), np.argsort(survey.keys)
        if not np.array_equal(keys[order], survey.keys[ours]):
            return None
        if survey.labels is not None:
            labels = map_array(folder / LABELS_NAME, survey.labels.shape, "int64")
            if not np.array_equal(labels[order], survey.labels[ours]):
                return None
    except (OSError, ValueError):
        return None
    return keys


def same_cache(folder: Path, wanted: CacheManifest, overwrite: bool) -> str | None:
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
        if overwrite and (different or not is_whole(folder, there)):
            return None
        if not different:
            return name
        raise ValueError(
            f"`folder` must be empty or hold the same cache. Received: '{folder}', "
            f"which holds one of another {', '.join(different)}. Choose another "
            "folder, or have this one replaced with overwrite=True (--overwrite)."
        )
    return None


def is_whole(folder: Path, manifest: CacheManifest) -> bool:
    """Whether the files are as they were when the cache was finished."""
    return all(
        (folder / name).is_file()
        and (folder / name).stat().st_size == file["size"]
        and sha256(folder / name) == file["sha256"]
        for name, file in manifest.files.items()
    )


def clear(folder: Path) -> None:
    """Removes a cache that is to be replaced: what makes it one first."""
    for name in _MANIFESTS:
        (folder / name).unlink(missing_ok=True)
    # No crash may leave a manifest beside what is written from now on.
    sync(folder)
    for path in folder.iterdir():
        if is_ours(path):
            path.unlink()


def announce(
    folder: Path, arrays: Arrays, manifest: CacheManifest, console: Console
) -> None:
    """Says what disk is needed.

    Raises:
        OSError: there is less.
    """
    one, n, stages = bytes_of(arrays, manifest.n), manifest.n, len(manifest.stages)
    there = sum(p.stat().st_size for p in folder.iterdir()) if folder.exists() else 0
    # Keys and labels beside the stages' arrays; while it is made, a sum of each row.
    needed = one * stages + n * (16 + 8 * stages)
    existing = next(p for p in (folder, *folder.resolve().parents) if p.exists())
    free = shutil.disk_usage(existing).free
    console.print(
        f"{n:,} examples, {stages} checkpoint{'s' if stages > 1 else ''}: "
        f"{gigabytes(needed)} in '{folder}'"
    )
    if needed - there > free:
        raise full_disk(folder, needed - there, free)


def remove_leftovers(folder: Path) -> None:
    """Removes what a finished cache does not need, and a crash may have left."""
    for path in folder.iterdir():
        left = path.name == BUILDING_NAME or path.name.endswith((".done.npy", ".tmp"))
        if left and is_ours(path):
            path.unlink()
