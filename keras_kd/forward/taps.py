"""Reads what named layers take in and give out during one ordinary forward pass.

A watcher stands between a layer and its `call`, on that instance alone: it may record
and pass on (`tapping`), or run the layer's computation itself and `tap` a tensor in
the middle of it. Nothing is rebuilt and nothing runs twice, so this works in
functional, nested and subclassed models, inside any backend's tracing.
"""

import contextlib
import functools
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, Protocol

import keras


class Call(NamedTuple):
    """One call of a tapped layer: its first argument and its result."""

    inputs: Any
    outputs: Any


class Taps:
    """What the tapped layers saw, in the order in which they were called."""

    def __init__(self, layers: Iterable[keras.layers.Layer]):
        self._calls: dict[int, list[Call]] = {id(layer): [] for layer in layers}

    def __contains__(self, layer: object) -> bool:
        return id(layer) in self._calls

    def watch(
        self,
        layer: keras.layers.Layer,
        call: Callable[..., Any],
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        outputs = call(*args, **kwargs)
        inputs = args[0] if args else next(iter(kwargs.values()), None)
        self._calls[id(layer)].append(Call(inputs, outputs))
        return outputs

    def calls(self, layer: keras.layers.Layer) -> list[Call]:
        """All calls of `layer` in this forward pass."""
        return self._calls[id(layer)]

    def output(self, layer: keras.layers.Layer) -> Any:
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

    def __contains__(self, layer: object) -> bool:
        """Whether calls of `layer` are to be watched."""

    def watch(
        self,
        layer: keras.layers.Layer,
        call: Callable[..., Any],
        *args: Any,
        **kwargs: Any,
    ) -> Any:
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


def _call_attribute(layer: keras.layers.Layer) -> str:
    return "quantized_call" if getattr(layer, "quantization_mode", None) else "call"


def _install(layer: keras.layers.Layer) -> None:
    with _lock:
        _installed[id(layer)] = _installed.get(id(layer), 0) + 1
        if _installed[id(layer)] > 1:
            return
        name = _call_attribute(layer)
        original = getattr(layer, name)
        if name in layer.__dict__:
            _replaced[id(layer)] = original

        def watched_call(*args: Any, **kwargs: Any) -> Any:
            call = original
            for watcher in getattr(_thread, "active", ()):
                if layer in watcher:
                    call = functools.partial(watcher.watch, layer, call)
            return call(*args, **kwargs)

        watched_call.is_watcher = True  # type: ignore[attr-defined]
        # Past Keras's and torch's attribute tracking, which have no business here.
        object.__setattr__(layer, name, watched_call)


def _uninstall(layer: keras.layers.Layer) -> None:
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
def tapped_by(function: Callable[[str, Any], Any]) -> Iterator[None]:
    """Inside the block, this thread's `tap(key, tensor)` is `function(key, tensor)`."""
    before = getattr(_thread, "tap", None)
    _thread.tap = function
    try:
        yield
    finally:
        _thread.tap = before


def tap(key: str, tensor: Any) -> Any:
    """`tensor`, made known under `key` to whoever differentiates with respect to it.

    Args:
        key: names the place in the forward pass: a layer, and which call of it.
        tensor: an intermediate result of the forward pass.

    Returns:
        The tensor to go on with: `tensor` itself when nobody listens.
    """
    function = getattr(_thread, "tap", None)
    return tensor if function is None else function(key, tensor)
