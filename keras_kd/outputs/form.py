"""Logits or probabilities: the form in which a model gives its outputs."""

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import keras
from keras import ops

from keras_kd.keras_internals import mask_of, set_mask
from keras_kd.outputs.kinds import Kind, kind_of_classes

Form: TypeAlias = Literal["logits", "probabilities"]

FORMS: tuple[Form, ...] = ("logits", "probabilities")


def to_logits(
    outputs: Any, form: str, kinds: Sequence[Kind | None] | None = None
) -> Any:
    """Outputs as float32 (or wider) logits, leaf by leaf.

    Args:
        outputs: tensor `(..., k)`, or a structure of such.
        form: `"logits"` or `"probabilities"`. Probabilities of classes become
            `log(p)`, those of labels `log(p / (1 - p))`; values are neither.
        kinds: of each output; `None` for classes.
    """
    leaves = keras.tree.flatten(outputs)
    kinds = [None] * len(leaves) if kinds is None else kinds
    found = []
    for leaf, kind in zip(leaves, kinds, strict=True):
        logits = at_least_float32(leaf)
        if form == "probabilities":
            kind = kind or kind_of_classes(leaf.shape[-1])
            logits = _with_mask_of(leaf, kind.from_probabilities(logits))
        found.append(logits)
    return keras.tree.pack_sequence_as(outputs, found)


def at_least_float32(x: Any) -> Any:
    """Half-precision tensors as float32, all others as they are; masks stay."""
    if keras.backend.standardize_dtype(x.dtype) in ("float16", "bfloat16"):
        return _with_mask_of(x, ops.cast(x, "float32"))
    return x


def _with_mask_of(x: Any, converted: Any) -> Any:
    # The losses leave out what a Keras mask does; arithmetic loses it.
    mask = mask_of(x)
    if mask is not None and converted is not x:
        set_mask(converted, mask)
    return converted
