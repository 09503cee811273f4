"""One example of zeros that a model takes: what it gives for it has the right shape."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import keras
import numpy as np

from keras_kd.forward.specs import input_spec

T = TypeVar("T")

# An open dimension (image size, sequence length) may be anything: 32 is large enough
# for the poolings of common networks, the first after it for those of some. What is
# smaller is for position embeddings and the like, which end somewhere.
_SIZES = (32, 64, 256, 16, 8, 4, 2, 1)


def on_an_example(
    model: keras.Model, run: Callable[[Any], T], partner: keras.Model | None = None
) -> T:
    """`run(zeros)` for one example, in the structure that `model` takes.

    Open dimensions are of the first size, and inputs of unknown dtype of the first
    dtype, with which the model runs.

    Args:
        model: a built model.
        run: calls it; may be called several times, without side effects.
        partner: a model that takes the same inputs, asked when `model` is subclassed
            and does not know the shape of its own.

    Raises:
        ValueError: neither model knows.
        Exception: the model's own, where it runs with no size.
    """
    first_error: Exception | None = None
    for zeros in _examples(_known_inputs(model, partner)):
        try:
            return run(zeros)
        except Exception as error:
            first_error = first_error or error
    assert first_error is not None
    raise first_error


def _known_inputs(model: keras.Model, partner: keras.Model | None) -> Any:
    """A structure of `(shape, dtype)`, the dtype `None` where only shapes are known."""
    models = [model] if partner is None else [model, partner]
    for known in models:
        if (spec := input_spec(known)) is not None:
            return keras.tree.map_structure(
                lambda leaf: _Leaf(leaf.shape, leaf.dtype), spec
            )
    for known in models:
        found = _as_leaves((known.get_build_config() or {}).get("input_shape"))
        if found is not None:
            return found
    raise ValueError(
        f"The input shape of model '{model.name}' is not known. Build it on a Keras "
        "`Input`, or call it once on a batch given as its only argument."
    )


class _Leaf:
    """Shape and dtype of one input."""

    def __init__(self, shape: Any, dtype: str | None = None):
        self.shape, self.dtype = tuple(shape), dtype

    def zeros(self, size: int, dtype: str) -> Any:
        shape = (1, *(size if d is None else d for d in self.shape[1:]))
        return keras.ops.convert_to_tensor(np.zeros(shape, self.dtype or dtype))


def _as_leaves(shapes: Any) -> Any:
    """A structure of shapes, as Keras records them, as one of inputs."""
    if isinstance(shapes, dict):
        leaves = {key: _as_leaves(shape) for key, shape in shapes.items()}
        return None if None in leaves.values() or not leaves else leaves
    if not isinstance(shapes, list | tuple) or not shapes:
        return None
    if all(d is None or isinstance(d, int) for d in shapes):
        return _Leaf(shapes)
    found = [_as_leaves(shape) for shape in shapes]
    return None if None in found else type(shapes)(found)


def _examples(inputs: Any) -> Iterator[Any]:
    leaves = keras.tree.flatten(inputs)
    is_open = any(d is None for leaf in leaves for d in leaf.shape[1:])
    is_typed = all(leaf.dtype is not None for leaf in leaves)
    # What is called on numbers of a kind may take no others: ids, masks.
    dtypes = [keras.config.floatx(), *([] if is_typed else ["int32", "bool"])]
    for dtype in dtypes:
        for size in _SIZES if is_open else _SIZES[:1]:
            yield keras.tree.map_structure(
                lambda leaf, size=size, dtype=dtype: leaf.zeros(size, dtype), inputs
            )
