"""What is in the folder of a cache: this cache, another one, or something else."""

import shutil
from pathlib import Path

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
)
from keras_kd.teachers.cache.manifest import MANIFEST_NAME, CacheManifest


def check_no_strangers(folder: Path) -> None:
    """Refuses a folder with files that no cache has.

    Raises:
        ValueError: names one of them.
    """
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
    """Removes a cache that is to be replaced: what makes it one first.

    Without a manifest, keys and labels may be somebody else's: these names are common.
    """
    manifests = [folder / MANIFEST_NAME, folder / BUILDING_NAME]
    was_cache = any(path.exists() for path in manifests)
    for path in manifests:
        path.unlink(missing_ok=True)
    # No crash may leave a manifest beside what is written from now on.
    sync(folder)
    for path in folder.iterdir():
        if was_cache or path.name not in (KEYS_NAME, LABELS_NAME):
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


def remove_leftovers(folder: Path) -> None:
    """Removes what a finished cache does not need, and a crash may have left."""
    for path in folder.iterdir():
        if path.name == BUILDING_NAME or path.name.endswith((".done.npy", ".tmp")):
            path.unlink()
