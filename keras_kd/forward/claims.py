"""What a model's config claims: the memory of its weights, before any is taken."""

import copy
import json
import math
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from keras_kd.keras_internals import variables_without_values

_WAYS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def check_claims(config: Any, size: int) -> None:
    """Refuses a config whose weights take far more memory than a file holds.

    Args:
        config: as `keras.saving.serialize_keras_object` gives it.
        size: of the weights' file, in bytes.

    Raises:
        ValueError: says both.

    Example:

    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    >>> config = keras.saving.serialize_keras_object(model)
    >>> config["config"]["layers"][1]["config"]["units"] = 10**11
    >>> check_claims(config, 10_000)
    Traceback (most recent call last):
        ...
    ValueError: its config claims weights of 1200000000000 bytes, and the file has 10000
    """
    claimed = _claimed(config)
    # What two models share may have been counted twice.
    if claimed > 2 * size:
        raise ValueError(
            f"its config claims weights of {claimed} bytes, and the file has {size}"
        )


def _claimed(config: Any) -> int:
    try:
        with variables_without_values():
            # Keras takes apart what it is given.
            built = keras.saving.deserialize_keras_object(
                copy.deepcopy(config), safe_mode=True
            )
            return sum(math.prod(v.shape) * bytes_of(v.dtype) for v in built.weights)
    except Exception:
        # Layers take their memory one by one, before it turns out that they do not fit.
        return sum(_claimed(part) for part in _parts(config.get("config")))


def _parts(node: Any) -> Iterator[dict[str, Any]]:
    """The objects that a config consists of, without those within them."""
    if isinstance(node, dict) and {"class_name", "config"} <= node.keys():
        yield node
    elif isinstance(node, dict | list):
        for child in node.values() if isinstance(node, dict) else node:
            yield from _parts(child)


def check_model_file(path: Path) -> None:
    """Refuses a `.keras` file whose config claims far more than the file holds.

    Raises:
        ValueError: as `check_claims`; or the config is packed more densely than Keras,
            or anything that deflates, packs.
    """
    try:
        with zipfile.ZipFile(path) as parts:
            # Deflate makes a thousandth of zeros, and Keras does not deflate.
            size = sum(min(p.file_size, 1100 * p.compress_size) for p in parts.filelist)
            config = parts.getinfo("config.json")
            dense = config.file_size > 1100 * config.compress_size
            is_packed = dense or config.compress_type not in _WAYS
            content = {} if is_packed else json.loads(parts.read(config))
        content.pop("compile_config", None)
    except Exception:  # Keras will say what is wrong with it.
        return
    if is_packed:
        raise ValueError(
            f"its config.json is {config.file_size} bytes packed into "
            f"{config.compress_size}, which Keras does not do"
        )
    check_claims(content, size)


def bytes_of(dtype: str) -> int:
    """Of one value, 1 at least."""
    bits = re.match(r"(?:u?int|b?float)(\d+)", keras.backend.standardize_dtype(dtype))
    return max(1, int(bits[1]) // 8) if bits else 1
