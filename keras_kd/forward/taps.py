"""Reads what named layers take in and give out during one ordinary forward pass.

A watcher stands between a layer and its `call`, on that instance alone: it may record
and pass on (`tapping`), or run the layer's computation itself and `tap` a tensor in
the middle of it. Nothing is rebuilt and nothing runs twice, so this works in
functional, nested and subclassed models, inside any backend's tracing.
"""

import contextlib
import difflib
import functools
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, Protocol

import keras
import numpy as np


class Call(NamedTuple):
    """One call of a tapped layer: its first argument and its result."""

    inputs: Any
    outputs: Any


class Taps:
    """What the tapped layers saw, in the order in which they were called."""

    def __init__(self, layers: Iterable[keras.layers.Layer]):
        self._calls: dict[int, list[Call]] = {id(layer): [] for layer in layers}

    def __contains__(self, layer) -> bool:
        return id(layer) in self._calls

    def watch(self, layer, call, *args, **kwargs) -> Any:
        outputs = call(*args, **kwargs)
        inputs = args[0] if args else next(iter(kwargs.values()), None)
        self._calls[id(layer)].append(Call(inputs, outputs))
        return outputs

    def calls(self, layer) -> list[Call]:
        """All calls of `layer` in this forward pass."""
        return self._calls[id(layer)]

    def output(self, layer) -> Any:
        """The output of a layer that was called exactly once.

        Raises:
            ValueError: it was not called, or more than once.
        """
        calls = self.calls(layer)
        if len(calls) != 1:
            raise ValueError(
                f"A tapped layer must be called exactly once in a forward pass. "
                f"Received: layer '{layer.name}', called {len(calls)} times."
            )
        return calls[0].outputs


class Watcher(Protocol):
    """What `watching` puts between layers and their `call`."""

    def __contains__(self, layer) -> bool:
        """Whether calls of `layer` are to be watched."""

    def watch(self, layer, call: Callable, *args, **kwargs) -> Any:
        """Called instead of `call`, the layer's own; returns the layer's outputs."""


# Wrappers are shared by all threads and counted; what they see goes to the watchers
# of the thread that runs the forward pass. So replicas of a tf.distribute strategy,
# each in a thread of its own and paused in the middle of a pass, do not mix, and no
# lock is held while a model runs.
_lock = threading.Lock()
_installed: dict[int, int] = {}
# The `call` of layers that had one of their own, on the instance.
_replaced: dict[int, Any] = {}
_thread = threading.local()


def _call_attribute(layer) -> str:
    return "quantized_call" if getattr(layer, "quantization_mode", None) else "call"


def _install(layer) -> None:
    with _lock:
        _installed[id(layer)] = _installed.get(id(layer), 0) + 1
        if _installed[id(layer)] > 1:
            return
        name = _call_attribute(layer)
        original = getattr(layer, name)
        if name in layer.__dict__:
            _replaced[id(layer)] = original

        def watched_call(*args, **kwargs):
            call = original
            for watcher in getattr(_thread, "active", ()):
                if layer in watcher:
                    call = functools.partial(watcher.watch, layer, call)
            return call(*args, **kwargs)

        watched_call.is_watcher = True  # type: ignore[attr-defined]
        # Past Keras's and torch's attribute tracking, which have no business here.
        object.__setattr__(layer, name, watched_call)


def _uninstall(layer) -> None:
    with _lock:
        _installed[id(layer)] -= 1
        if _installed[id(layer)] == 0:
            del _installed[id(layer)]
            name = _call_attribute(layer)
            if id(layer) in _replaced:
                object.__setattr__(layer, name, _replaced.pop(id(layer)))
            else:
                object.__delattr__(layer, name)


@contextlib.contextmanager
def watching(layers: Iterable[keras.layers.Layer], watcher: Watcher) -> Iterator[None]:
    """Puts `watcher` between `layers` and their `call`, for this thread alone.

    The layers are as before when the block ends, however it ends.
    """
    layers = list({id(layer): layer for layer in layers}.values())
    done: list[keras.layers.Layer] = []
    active = _thread.__dict__.setdefault("active", [])
    active.append(watcher)
    try:
        for layer in layers:
            _install(layer)
            done.append(layer)
        yield
    finally:
        for layer in reversed(done):
            _uninstall(layer)
        active.remove(watcher)


@contextlib.contextmanager
def tapping(layers: Iterable[keras.layers.Layer]) -> Iterator[Taps]:
    """Records the calls of `layers` made by this thread inside the block.

    Args:
        layers: the layers to tap; none at all costs nothing.

    Yields:
        `Taps`, filled as the forward pass runs.

    Example:

    ```python
    conv = find_layer(model, "backbone/conv4")
    with tapping([conv]) as taps:
        logits = model(images)
    features = taps.output(conv)
    ```
    """
    layers = list(layers)
    taps = Taps(layers)
    with watching(layers, taps):
        yield taps


@contextlib.contextmanager
def tapped_by(function: Callable[[Any, Any], Any]) -> Iterator[None]:
    """Inside the block, this thread's `tap(key, tensor)` is `function(key, tensor)`."""
    before = getattr(_thread, "tap", None)
    _thread.tap = function
    try:
        yield
    finally:
        _thread.tap = before


def tap(key, tensor) -> Any:
    """`tensor`, made known under `key` to whoever differentiates with respect to it.

    Args:
        key: names the place in the forward pass: a layer, and which call of it.
        tensor: an intermediate result of the forward pass.

    Returns:
        The tensor to go on with: `tensor` itself when nobody listens.
    """
    function = getattr(_thread, "tap", None)
    return tensor if function is None else function(key, tensor)


def _children(layer) -> list[keras.layers.Layer]:
    return list(layer._flatten_layers(include_self=False, recursive=False))


def layer_paths(model, prefix: str = "") -> list[str]:
    """The paths of all layers below `model`, outermost first."""
    paths = []
    for child in _children(model):
        paths.append(prefix + child.name)
        paths.extend(layer_paths(child, f"{prefix}{child.name}/"))
    return paths


def find_layer(model, path: str) -> keras.layers.Layer:
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


def input_spec(model) -> Any:
    """The symbolic inputs of a functional or sequential model, else `None`."""
    # A Sequential keeps the functional model that it is made into.
    functional = getattr(model, "_functional", None) or model
    return getattr(functional, "_inputs_struct", None)


def output_spec(model) -> Any:
    """The symbolic outputs of a functional or sequential model, else `None`."""
    functional = getattr(model, "_functional", None) or model
    return getattr(functional, "_outputs_struct", None)


def example_inputs(model, partner=None) -> Any:
    """Zeros for one example, in the structure that `model` takes.

    Args:
        model: a built model.
        partner: a model that takes the same inputs, asked when `model` is subclassed
            and does not know the shape of its own.

    Raises:
        ValueError: neither model knows.
    """
    for known in (model, partner):
        if (spec := input_spec(known)) is not None:
            return keras.tree.map_structure(_one_example, spec)
    for known in (model, partner):
        shape = (known.get_build_config() or {}).get("input_shape") if known else None
        if shape and all(isinstance(d, int) or d is None for d in shape):
            return _one_example(keras.KerasTensor(shape, keras.config.floatx()))
    raise ValueError(
        f"The input shape of model '{model.name}' is not known. Build it on a Keras "
        "`Input`, or call it once on a batch given as its only argument."
    )


def _one_example(spec) -> Any:
    # An open dimension (image size, sequence length) may be anything: 32 is large
    # enough for the poolings of common networks.
    shape = (1, *(32 if d is None else d for d in spec.shape[1:]))
    return keras.ops.convert_to_tensor(np.zeros(shape, spec.dtype))


def output_shapes(model, paths: Iterable[str], partner=None) -> dict[str, tuple]:
    """The shapes that the layers at `paths` give for one example.

    Found by one forward pass over a single example of zeros, without side effects.

    Args:
        model: a built model.
        paths: as in `find_layer`.
        partner: as in `example_inputs`.

    Returns:
        `{path: shape}`, each shape with a leading 1 for the batch.

    Raises:
        ValueError: a layer gives several tensors, or is not called exactly once.
    """
    layers = {path: find_layer(model, path) for path in paths}
    with tapping(layers.values()) as taps:
        call_without_side_effects(model, example_inputs(model, partner))
    outputs = {path: taps.output(layer) for path, layer in layers.items()}
    for path, output in outputs.items():
        if keras.tree.is_nested(output):
            raise ValueError(
                "A tapped layer must give one tensor. Received: layer "
                f"'{path}' in model '{model.name}', which gives a structure of "
                f"{len(keras.tree.flatten(output))}."
            )
    return {path: tuple(output.shape) for path, output in outputs.items()}


def call_without_side_effects(
    model, inputs, trainable_values=None, non_trainable_values=None
) -> Any:
    """`model(inputs, training=False)` that changes none of the model's state.

    Batch statistics, seed generators, metrics and collected losses stay as they are.

    Args:
        model: a built model.
        inputs: what `model` takes.
        trainable_values: values instead of those in `model.trainable_variables`.
        non_trainable_values: likewise for `model.non_trainable_variables`.
    """
    if trainable_values is None:
        trainable_values = [v.value for v in model.trainable_variables]
    if non_trainable_values is None:
        non_trainable_values = [v.value for v in model.non_trainable_variables]
    kwargs = {"training": False} if model._call_has_training_arg else {}
    outputs, _ = model.stateless_call(
        trainable_values, non_trainable_values, inputs, **kwargs
    )
    return outputs
