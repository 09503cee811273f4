"""One ordinary forward pass, and what can be read from it."""

from keras_kd.forward.calls import call_without_side_effects
from keras_kd.forward.examples import Examples
from keras_kd.forward.paths import find_layer, layer_paths
from keras_kd.forward.probe import on_an_example
from keras_kd.forward.raw_strings import as_numbers, holds_strings
from keras_kd.forward.shapes import output_shapes
from keras_kd.forward.specs import build_on, input_spec, output_spec
from keras_kd.forward.taps import (
    Call,
    Taps,
    Watcher,
    tap,
    tapped_by,
    tapping,
    watching,
)
from keras_kd.forward.views import view_of

__all__ = [
    "Call",
    "Examples",
    "Taps",
    "Watcher",
    "as_numbers",
    "build_on",
    "call_without_side_effects",
    "find_layer",
    "holds_strings",
    "input_spec",
    "layer_paths",
    "on_an_example",
    "output_shapes",
    "output_spec",
    "tap",
    "tapped_by",
    "tapping",
    "view_of",
    "watching",
]
