"""Why a supervision cache refuses a batch: it does not hold all of its examples."""

from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_kd.teachers.cache.keys import counted_as
from keras_kd.teachers.cache.manifest import CacheManifest
from keras_kd.teachers.cache.structure import from_json


def unknown_examples(
    inputs: Any, known: np.ndarray, manifest: CacheManifest, folder: Path
) -> ValueError:
    """The error that says what differs, as far as it can be seen.

    Args:
        inputs: of the batch, a structure of arrays.
        known: which of its examples the cache holds, `(m,)`.
        manifest: of the cache.
        folder: where it lies.
    """
    leaves = [np.asarray(leaf) for leaf in keras.tree.flatten(inputs)]
    held: list[dict[str, Any]] = []
    from_json(manifest.spec.inputs, held.append)
    reason = (
        "They are other examples, or were augmented after the cache was built: a "
        "cache of augmented data needs `views`, and that data."
    )
    if len(leaves) != len(held):
        reason = f"They have {len(leaves)} inputs, the cache's {len(held)}."
        leaves = []
    for leaf, spec, (low, high) in zip(leaves, held, manifest.ranges, strict=False):
        if list(leaf.shape[1:]) != spec["shape"]:
            reason = (
                f"They have the shape {list(leaf.shape[1:])}, the cache's "
                f"{spec['shape']}."
            )
            break
        if counted_as(leaf.dtype) != counted_as(spec["dtype"]):
            reason = f"They are of dtype {leaf.dtype}, the cache's of {spec['dtype']}."
            break
        span = float(leaf.max()) - float(leaf.min())
        if leaf.min() < low or leaf.max() > high or span < (high - low) / 32:
            reason = (
                f"They range from {leaf.min():.4g} to {leaf.max():.4g}, the "
                f"cache's from {low:.4g} to {high:.4g}: another preprocessing?"
            )
            break
    return ValueError(
        f"The supervision cache in '{folder}' must hold every example that it is asked "
        f"for. Received: a batch of which {np.count_nonzero(~known)} of {len(known)} "
        f"are not in it. {reason}"
    )
