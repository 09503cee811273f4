"""The models of all cases, with weights and inputs, one by one and together."""

import contextlib

import keras
import ntk_layer_cases  # noqa: F401, its cases
import ntk_model_cases  # noqa: F401, likewise
import numpy as np
from float64 import float64_scope
from keras import layers, ops
from ntk_cases import BACKEND, CASES, Ids, keras_input

__all__ = [
    "BACKEND",
    "CASES",
    "GROUPS",
    "OLD_KERAS_ON_TORCH",
    "WARNED",
    "build",
    "disturb",
    "inputs_for",
    "take",
    "together",
]


def inputs_for(spec, n: int, seed: int = 0, dtype="float64"):
    """Random inputs, representable in float32."""
    rng = np.random.default_rng(seed)

    def draw(leaf):
        if isinstance(leaf, Ids):
            return rng.integers(0, leaf.high, (n, *leaf.shape)).astype("int32")
        return rng.normal(size=(n, *leaf)).astype("float32").astype(dtype)

    if isinstance(spec, dict):
        return {name: draw(leaf) for name, leaf in spec.items()}
    if isinstance(spec, list):
        return [draw(leaf) for leaf in spec]
    return draw(spec)


def disturb(model, seed: int = 0):
    """Gives every weight a value of its own, the same on all backends.

    Representable in float32; what starts as zeros or ones is neither afterwards.
    """
    rng = np.random.default_rng(seed)
    for variable in model.variables:
        if not keras.backend.is_float_dtype(variable.dtype):
            continue
        before = ops.convert_to_numpy(variable)
        value = rng.normal(size=before.shape)
        if "variance" in variable.name:
            value = 0.5 + np.abs(value)
        elif before.ndim > 1:
            value = value / np.sqrt(np.prod(before.shape[:-1]))
        else:
            # Not by the mean: a kernel of one axis starts at random on each backend.
            value = float(np.all(before == 1)) + 0.3 * value
        variable.assign(value.astype("float32").astype(variable.dtype))
    return model


# The library is to say that a rule does not hold, and name this layer.
WARNED = {
    "kernel_used_by_matmul": "the_owner",
    "tied_by_matmul": "table",
    "conv_subclass_with_own_convolution": "standardized_conv",
}
# What these do is not what they say they do, or nothing at all; later ones do.
OLD_KERAS_ON_TORCH = BACKEND == "torch" and keras.version().startswith("3.12.")
if OLD_KERAS_ON_TORCH:
    # It pads other sides than on other backends, and says so.
    for _rank in ("1d", "2d"):
        for _padding in ("strided_same", "output_padding"):
            _layer = f"conv{_rank}_transpose"
            WARNED[f"{_layer}_{_padding}"] = _layer
    # GlobalAveragePooling1D multiplies its masked inputs in place, which fails where
    # these are weights.
    del CASES["embedding_masked"]


def build(name, dtype="float64"):
    """The model of a case, and what its inputs are; the same weights in any type."""
    if dtype == "float64":
        with float64_scope():
            model, spec = CASES[name]()
            return disturb(model), spec
    model, spec = CASES[name]()
    return disturb(model), spec


def take(x, index):
    """Examples of a structure of inputs."""
    return keras.tree.map_structure(lambda leaf: leaf[index], x)


def together(names, dtype="float64"):
    """One model that adds up the logits of several cases, and its inputs' specs.

    Its kernel is the sum of theirs.
    """
    members = [build(name, dtype) for name in names]

    def symbols(spec):
        if isinstance(spec, dict):
            return {name: keras_input(leaf, name) for name, leaf in spec.items()}
        if isinstance(spec, list):
            return [keras_input(leaf) for leaf in spec]
        return keras_input(spec)

    scope = float64_scope() if dtype == "float64" else contextlib.nullcontext()
    with scope:
        inputs = [symbols(spec) for _, spec in members]
        outputs = [model(x) for (model, _), x in zip(members, inputs, strict=True)]
        return keras.Model(inputs, layers.Add()(outputs)), [spec for _, spec in members]


def _groups():
    left = [name for name in CASES if name not in WARNED]
    groups = {}
    for label, prefixes in {
        "one_logit": ("one_logit",),
        "sequence_of_logits": ("sequence_of_logits",),
        "probabilities": ("probabilities",),
        "dense": ("dense",),
        "einsum": ("einsum",),
        "transposed": ("conv1d_transpose", "conv2d_transpose", "conv3d_transpose"),
        "conv1d": ("conv1d",),
        "conv2d": ("conv2d",),
        "conv3d": ("conv3d",),
        "depthwise": ("depthwise", "separable"),
        "normalization": ("batch_norm", "layer_norm", "group_norm", "rms", "prelu"),
        "embedding": ("embedding", "reversible"),
        "positions": ("positions",),
        "attention": ("multi_head", "grouped_query"),
        "shared": ("shared",),
        "recurrent": ("lstm", "gru", "bidirectional", "simple_rnn", "time_distributed"),
        "others": ("",),
    }.items():
        groups[label] = [name for name in left if name.startswith(prefixes)]
        left = [name for name in left if name not in groups[label]]
    return groups


GROUPS = _groups()
