"""Layers by their paths: names joined by "/", at any depth."""

import difflib
import re
from collections.abc import Mapping
from typing import Any

import keras

from keras_kd.keras_internals import flatten_layers


def _children(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    return flatten_layers(layer, include_self=False, recursive=False)


def layer_paths(model: keras.layers.Layer, prefix: str = "") -> list[str]:
    """The paths of all layers below `model`, outermost first."""
    paths: list[str] = []
    for child in _children(model):
        paths.append(prefix + child.name)
        paths.extend(layer_paths(child, f"{prefix}{child.name}/"))
    return paths


def find_layer(model: keras.layers.Layer, path: str) -> keras.layers.Layer:
    """The layer at `path`, names joined by "/": `"conv4"`, `"backbone/conv4"`.

    In a subclassed model, where names are numbered automatically, the name of the
    attribute that holds the layer will do as well, and where that is a list or a dict
    of layers, a place in it: `"blocks/0"`, `"blocks/-1/dense"`, `"heads/boxes"`.

    Raises:
        ValueError: there is no such layer, or several; the message lists the
            nearest paths.
    """
    node: Any = model
    for part in path.split("/"):
        matches = _below(node, part)
        if len(matches) > 1:
            raise ValueError(
                f"The path of a tapped layer must be unique. Received: '{path}' in "
                f"model '{model.name}', which has {len(matches)} layers named '{part}'."
            )
        if not matches:
            raise _no_layer(model, path)
        node = matches[0]
    if not isinstance(node, keras.layers.Layer):  # a list of layers
        raise _no_layer(model, path)
    return node


def _below(node: Any, part: str) -> list[Any]:
    """What `part` may mean below a layer, or below a list or dict of layers."""
    if isinstance(node, keras.layers.Layer):
        named = [child for child in _children(node) if child.name == part]
        if named:
            return named
        found = getattr(node, part, None)
    elif isinstance(node, Mapping):
        found = node.get(part)
    else:
        number = re.fullmatch(r"-?\d+", part)
        place = int(part) if number else len(node)
        found = node[place] if -len(node) <= place < len(node) else None
    held = keras.layers.Layer | Mapping | list | tuple
    return [found] if isinstance(found, held) else []


def _no_layer(model: keras.layers.Layer, path: str) -> ValueError:
    known = layer_paths(model)
    near = difflib.get_close_matches(path, known, n=5, cutoff=0.0)
    return ValueError(
        f"Model '{model.name}' has no layer '{path}'. "
        f"Nearest of its {len(known)} layers: {near}."
    )
