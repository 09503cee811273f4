"""The folder of a study: one recipe's, one backend's, one process's at a time."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from keras_kd.experiments.studies.recipe import Recipe
from keras_kd.experiments.studies.seals import read_record, write_record
from keras_kd.files import FolderLock


def check_backend(records: list[dict[str, Any]], folder: Path) -> None:
    backend = keras.backend.backend()
    for record in records:
        if record["versions"]["backend"] != backend:
            raise ValueError(
                f"The folder '{folder}' must hold results of the same backend, or "
                f"none. Received: KERAS_BACKEND={backend}, and results of "
                f"{record['versions']['backend']} there."
            )


def keep_recipe(recipe: Recipe, file: Path) -> None:
    # Through JSON, which makes lists of tuples.
    identity = json.loads(json.dumps(recipe.identity))
    if not file.exists():
        write_record(file, identity)
        return
    # Of a release that had no such field: as it is by default.
    defaults = json.loads(json.dumps(Recipe.defaults()))
    held = {**defaults, **read_held(file)}
    for name in identity.keys() | held.keys():
        if identity.get(name) != held.get(name):
            raise ValueError(
                f"The folder '{file.parent}' must hold the same recipe, or nothing. "
                f"Received: {name}={identity.get(name)}, and {held.get(name)} there."
            )


def read_held(file: Path) -> dict[str, Any]:
    """What `recipe.json` says.

    Raises:
        ValueError: it is damaged: the message names it, and the way out.
    """
    return read_record(file, "Delete it, and give the same `keras-kd run` again.")


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    lock = FolderLock(folder, f"Another process runs a recipe in '{folder}'.")
    try:
        yield
    finally:
        lock.release()
