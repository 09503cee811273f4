"""What a supervision cache says of the examples that teachers are compared on."""

import math
from collections.abc import Iterator
from typing import Any, TypeAlias

import keras
import numpy as np
from numpy.typing import NDArray

from keras_kd.outputs import Kind, continuous, kind_named, kind_of_classes
from keras_kd.teachers import SupervisionCache
from keras_kd.teachers.cache import CachedMean

# A cache, or stages of it and their means.
Cached: TypeAlias = SupervisionCache | CachedMean


def check_cached(name: str, cached: Cached, values: Any, k: int, kind: Kind) -> None:
    """Refuses a cache that cannot stand for its teacher here.

    Args:
        name: of the teacher, for messages.
        cached: the cache.
        values: the examples, as Keras passes them to a model.
        k: units of the student's output.
        kind: what the outputs are taken for.

    Raises:
        ValueError: an example is not in it; it has several outputs, others, or the
            largest logits alone; or its logits were made of something else.
    """
    n = len(keras.tree.flatten(values)[0])
    shapes = cached.spec.logits
    if len(shapes) != 1 or math.prod(shapes[0]) != k:
        each = [(n, math.prod(shape)) for shape in shapes]
        raise ValueError(
            f"`teachers` must give outputs of shape {(n, k)}: one row for each example "
            "of `x`, and the student's number of outputs. Received: teacher "
            f"'{name}' with " + ", ".join(f"shape {shape}" for shape in each)
        )
    for cache in _caches(cached):
        units = shapes[0][-1]
        if cache.top_k is not None and cache.top_k < units:
            raise ValueError(
                "`teachers` must give all their logits: a temperature changes what the "
                f"small ones say. Received: teacher '{name}', a cache of the "
                f"{cache.top_k} largest of {units} (top_k={cache.top_k})"
            )
        _check_kind(name, cache, units, kind)
    cached.rows(values)


def cached_stages(
    cached: Cached, values: Any
) -> Iterator[tuple[int | None, NDArray[np.float32]]]:
    """The step of each stage, `None` of no checkpoint, and its logits `(n, k)`.

    Args:
        cached: a cache, of which each checkpoint is a stage; or one stage or a mean.
        values: the examples.
    """
    if isinstance(cached, SupervisionCache):
        rows = cached.rows(values)
        trained = cached.total_steps > 0
        for stage in cached:
            (logits,), _ = cached.look_up(rows, stage.index)
            yield stage.step if trained else None, logits.reshape(len(logits), -1)
    else:
        (logits,), _ = cached.look_up(cached.rows(values))
        yield None, logits.reshape(len(logits), -1)


def _caches(cached: Cached) -> list[SupervisionCache]:
    if isinstance(cached, SupervisionCache):
        return [cached]
    return list({id(cache): cache for cache, _ in cached.members}.values())


def _check_kind(name: str, cache: SupervisionCache, units: int, kind: Kind) -> None:
    (recorded,) = cache.output_kinds or [None]
    made_as = kind_of_classes(units) if recorded is None else kind_named(recorded)
    # The logits of a probability depend on what it was of.
    if cache.teacher_outputs == "probabilities" and made_as is not kind:
        wrong = f"logits that were made of {made_as.NAME} probabilities"
    elif kind is continuous and cache.dtype == "float16":
        wrong = "dtype='float16', in which small values beside large ones are lost"
    else:
        return
    raise ValueError(
        f"`output_kind` must be what the cache was built for. Received: "
        f"output_kind='{kind.NAME}', and teacher '{name}', which holds {wrong}. Build "
        f"it again: `SupervisionCache.build(..., output_kind='{kind.NAME}'"
        + (", dtype='float32')`" if kind is continuous else ")`")
    )
