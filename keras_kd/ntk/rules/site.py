"""Where a rule meets the capture: one call of one layer."""

import functools
from collections.abc import Callable
from typing import Any, TypeAlias

import keras
from keras import ops

from keras_kd.forward import tap
from keras_kd.ntk.factors import (
    Explicit,
    Factor,
    OneHot,
    OuterProduct,
    Patches,
    Positions,
)
from keras_kd.ntk.factors.inputs import Geometry
from keras_kd.ntk.factors.outer import Layout

# A factor on its way out of the compiled pass: what makes it, of which tensors.
Parts: TypeAlias = list[tuple[Callable[..., Factor], list[Any]]]
# Runs a layer on inputs, and has a site tap what is linear in its weights.
Rule: TypeAlias = Callable[[Any, "Site", Any], Any]


class Site:
    """Taps tensors for a rule and keeps what their gradients are made of.

    Args:
        layer: that is called.
        name: of the call; the taps' keys begin with it.
        places: `{id(variable): index}` of the weights that are asked for.
    """

    def __init__(
        self, layer: keras.layers.Layer, name: str, places: dict[int, int]
    ) -> None:
        self.layer = layer
        self.name = name
        self.places = places
        self.arrays: dict[str, Any] = {}
        self.factors: dict[str, Callable[[Any, Any], Parts]] = {}

    def place(self, variable: keras.Variable | None) -> int | None:
        """The index of a weight, `None` where it is not asked for."""
        return None if variable is None else self.places.get(id(variable))

    def tap(
        self, tensor: Any, arrays: Any, factors: Callable[[Any, Any], Parts]
    ) -> Any:
        """Taps `tensor`.

        Args:
            tensor: the outputs of a part that is linear in its weights.
            arrays: structure of tensors that `factors` needs, leading axis `m`.
            factors: `factors(arrays, d)`, `d` `(q, *tensor.shape)`, the gradients of
                the `q` outputs at `tensor`.

        Returns:
            The tensor to go on with.
        """
        key = f"{self.name}/{len(self.arrays)}"
        self.arrays[key] = arrays
        self.factors[key] = factors
        return tap(key, tensor)


def as_features(tensor: Any) -> Any:
    """Half precision as float32: what is multiplied is never less."""
    if keras.backend.standardize_dtype(tensor.dtype) in ("float16", "bfloat16"):
        return ops.cast(tensor, "float32")
    return tensor


def outer(
    kernel: int | None, bias: int | None, layout: Layout, a: Any, d: Any
) -> Parts:
    """A linear layer's factor, with inputs that are vectors.

    Args:
        kernel: its place or `None`.
        bias: likewise.
        layout: of the kernel.
        a: `(m, t, g, i)`.
        d: `(q, m, t, g, o)`.
    """

    def make(a: Any, d: Any) -> OuterProduct:
        return OuterProduct(kernel, bias, layout, ((Positions(a), d),))

    return [(make, [as_features(a), as_features(d)])]


def outer_of_patches(
    kernel: int | None,
    bias: int | None,
    layout: Layout,
    geometry: Geometry,
    images: Any,
    d: Any,
) -> Parts:
    """A convolution's factor.

    Args:
        images: `(m, *spatial, g, c)`.
        d: `(q, m, t, g, o)`.
    """

    def make(images: Any, d: Any) -> OuterProduct:
        calls = ((Patches(images, geometry), d),)
        return OuterProduct(kernel, bias, layout, calls)

    return [(make, [as_features(images), as_features(d)])]


def outer_of_ids(
    kernel: int | None, size: int, layout: Layout, ids: Any, d: Any
) -> Parts:
    """A table's factor.

    Args:
        ids: `(m, t)`, below `size`.
        d: `(q, m, t, 1, o)`.
    """

    def make(ids: Any, d: Any) -> OuterProduct:
        return OuterProduct(kernel, None, layout, ((OneHot(ids, size, d.dtype), d),))

    return [(make, [ids, as_features(d)])]


def explicit(place: int, gradients: Any) -> Parts:
    """A small weight's gradients, `(q, m, ...)`."""
    flat = ops.reshape(gradients, (*gradients.shape[:2], -1))
    return [(functools.partial(Explicit, place), [as_features(flat)])]


def summed_to(gradients: Any, shape: tuple[int, ...]) -> Any:
    """Gradients `(q, m, *rest)` summed to those of a weight that was broadcast.

    Args:
        gradients: at the tensor that the weight was broadcast to.
        shape: the weight's, with as many axes as `rest`, 1 where it was broadcast.
    """
    axes = tuple(
        2 + axis
        for axis, (mine, its) in enumerate(zip(gradients.shape[2:], shape, strict=True))
        if its == 1 and mine != 1
    )
    return ops.sum(gradients, axis=axes) if axes else gradients
