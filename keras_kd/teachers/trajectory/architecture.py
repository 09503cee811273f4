"""What a model is, without its weights: its config and variables, and their comparison.

Numbers that Keras gives, and seeds, do not count: they depend on what else was built.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras

_AUTO_NUMBER = re.compile(r'_\d+(?=[/"]|$)')


class VariableSpec(NamedTuple):
    """What a variable is, without its value."""

    path: str
    shape: tuple[int, ...]
    dtype: str


def model_config(model: keras.Model) -> dict[str, Any]:
    """The model's architecture, as JSON will give it back, without how it trains."""
    config = keras.saving.serialize_keras_object(model)
    config.pop("compile_config", None)
    return dict(json.loads(json.dumps(config)))


def variable_specs(model: keras.Model) -> tuple[VariableSpec, ...]:
    """The model's `weights`, in order."""
    return tuple(
        VariableSpec(v.path, tuple(v.shape), keras.backend.standardize_dtype(v.dtype))
        for v in model.weights
    )


def first_difference(
    recorded: Sequence[VariableSpec], present: Sequence[VariableSpec]
) -> str | None:
    """Says where two lists of variables differ, `None` where they do not.

    Of the paths, the names of variable and layer are compared: what stands before
    them depends on the order in which Keras built the layers. Numbers at their ends
    are left out: Keras counts layers without a name through a whole process.

    Example:

    >>> recorded = [VariableSpec("net/dense_3/kernel", (4, 2), "float32")]
    >>> present = [VariableSpec("net/dense/kernel", (4, 2), "float32")]
    >>> first_difference(recorded, present)
    """
    for i, (a, b) in enumerate(zip(recorded, present, strict=False)):
        if (_names(a.path), *a[1:]) != (_names(b.path), *b[1:]):
            return (
                f"variable {i} was recorded as '{a.path}', shape {a.shape}, {a.dtype}, "
                f"and is '{b.path}', shape {b.shape}, {b.dtype}, in the model"
            )
    if len(recorded) != len(present):
        return (
            f"{len(recorded)} variables were recorded, and the model has {len(present)}"
        )
    return None


def same_architecture(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether two model configs differ in automatic numbers and seeds at most."""
    return _architecture(a) == _architecture(b)


def _architecture(config: Mapping[str, Any]) -> str:
    return _unnumbered(json.dumps(_without_seeds(config), sort_keys=True))


def _without_seeds(node: Any) -> Any:
    if isinstance(node, Mapping):
        # A later Keras writes down options that an earlier one did not have: as None
        # or False. Where the other has them, it differs.
        return {
            k: _without_seeds(v)
            for k, v in node.items()
            if k != "seed" and v is not None and v is not False
        }
    if isinstance(node, list | tuple):
        return [_without_seeds(v) for v in node]
    return node


def _names(path: str) -> list[str]:
    return _unnumbered(path).split("/")[-2:]


def _unnumbered(text: str) -> str:
    return _AUTO_NUMBER.sub("", text)
