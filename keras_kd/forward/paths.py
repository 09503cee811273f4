"""Layers by their paths: names joined by "/", at any depth."""

import difflib

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
    attribute that holds the layer will do as well.

    Raises:
        ValueError: there is no such layer, or several; the message lists the
            nearest paths.
    """
    layer = model
    for part in path.split("/"):
        matches = [child for child in _children(layer) if child.name == part]
        if not matches:
            attribute = getattr(layer, part, None)
            matches = [attribute] if isinstance(attribute, keras.layers.Layer) else []
        if len(matches) > 1:
            raise ValueError(
                f"The path of a tapped layer must be unique. Received: '{path}' in "
                f"model '{model.name}', which has {len(matches)} layers named '{part}'."
            )
        if not matches:
            known = layer_paths(model)
            near = difflib.get_close_matches(path, known, n=5, cutoff=0.0)
            raise ValueError(
                f"Model '{model.name}' has no layer '{path}'. "
                f"Nearest of its {len(known)} layers: {near}."
            )
        layer = matches[0]
    return layer
