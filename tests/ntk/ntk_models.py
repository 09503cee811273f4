"""Small models, one for each thing that a rule may get wrong.

A case is a function without arguments that returns a model of the current float type
and the specification of its inputs: a shape for numbers, `Ids(shape, high)` for
integers below `high`, or a structure of these. All are smooth.
"""

import contextlib
import functools
from typing import NamedTuple

import keras
import numpy as np
from float64 import float64_scope
from keras import layers, ops

BACKEND = keras.backend.backend()
CASES = {}


class Ids(NamedTuple):
    shape: tuple
    high: int


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


def case(function):
    CASES[function.__name__] = function
    return function


def add(name, *args):
    """The case of one layer, or of a function of a tensor, between input and logits."""
    *middle, spec = args

    def build():
        return one_layer(*(m() for m in middle), spec=spec)

    CASES[name] = build


def keras_input(spec, name=None):
    if isinstance(spec, Ids):
        return keras.Input(spec.shape, dtype="int32", name=name)
    return keras.Input(spec, name=name)


def head(x):
    if len(x.shape) > 2:
        x = layers.Flatten()(x)
    return layers.Dense(3, name="logits")(ops.silu(x))


def one_layer(*middle, spec):
    inputs = keras_input(spec)
    x = inputs
    for layer in middle:
        x = layer(x)
    return keras.Model(inputs, head(x)), spec


def lazily(cls, *args, **kwargs):
    return functools.partial(cls, *args, **kwargs)


# --- Dense -----------------------------------------------------------------------

add("dense", lazily(layers.Dense, 5, activation="tanh"), (4,))
add("dense_no_bias", lazily(layers.Dense, 5, use_bias=False), (4,))
add("dense_sequence", lazily(layers.Dense, 4, activation="silu"), (5, 3))
add("dense_image", lazily(layers.Dense, 2), (3, 2, 4))
add("dense_wide_sequence", lazily(layers.Dense, 2), (30, 3))
add("dense_narrow_sequence", lazily(layers.Dense, 24), (2, 24))


def frozen(name, weight):
    @case
    def build():
        dense = layers.Dense(5, activation="tanh", name="half_frozen")
        model, spec = one_layer(dense, spec=(4,))
        getattr(dense, weight).trainable = False
        return model, spec

    CASES[name] = CASES.pop("build")


frozen("dense_frozen_kernel", "kernel")
frozen("dense_frozen_bias", "bias")


@case
def dense_frozen_layer():
    inputs = keras.Input((4,))
    x = layers.Dense(6, activation="tanh")(inputs)
    x = layers.Dense(5, activation="tanh", trainable=False)(x)
    return keras.Model(inputs, head(x)), (4,)


@case
def probabilities():
    inputs = keras.Input((4,))
    x = layers.Dense(6, activation="tanh")(inputs)
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(x)), (4,)


@case
def one_logit():
    inputs = keras.Input((4,))
    x = layers.Dense(6, activation="tanh")(inputs)
    return keras.Model(inputs, layers.Dense(1)(x)), (4,)


@case
def sequence_of_logits():
    inputs = keras.Input((3, 4))
    x = layers.Dense(6, activation="tanh")(inputs)
    return keras.Model(inputs, layers.Dense(2)(x)), (3, 4)


# --- EinsumDense -----------------------------------------------------------------

for equation, output_shape, bias_axes, spec in (
    ("ab,bc->ac", 5, "c", (4,)),
    ("abc,cd->abd", (3, 5), "d", (3, 4)),
    ("abc,cde->abde", (3, 2, 3), "de", (3, 4)),
    ("abcd,cde->abe", (3, 5), "e", (3, 2, 4)),
    ("abc,cde->abde", (3, 2, 3), "e", (3, 4)),
    ("abc,cde->abde", (3, 2, 3), "be", (3, 4)),
    ("abc,bcd->abd", (3, 2), "bd", (3, 4)),
    ("abc,dc->abd", (3, 5), None, (3, 4)),
    ("...x,xy->...y", 5, "y", (3, 4)),
    ("ab,b->ab", 4, "b", (4,)),
    ("abc,cd->ad", (5,), "d", (3, 4)),
    ("abc,cd->adb", (5, 3), "d", (3, 4)),
):
    name = equation.replace(",", "_").replace("->", "_to_").replace(".", "")
    add(
        f"einsum_{name}_bias_{bias_axes}",
        lazily(layers.EinsumDense, equation, output_shape, bias_axes=bias_axes),
        spec,
    )

# --- convolutions ----------------------------------------------------------------

_SPATIAL = {1: (7,), 2: (6, 5), 3: (4, 3, 5)}


def add_convolution(name, cls, rank, *args, channels=2, **kwargs):
    shape = (*_SPATIAL[rank], channels)
    if kwargs.get("data_format") == "channels_first":
        if BACKEND == "tensorflow":
            return  # TensorFlow's own convolution does not run on a CPU.
        shape = (channels, *_SPATIAL[rank])
    add(name, lazily(cls, *args, **kwargs), shape)


for rank, cls in ((1, layers.Conv1D), (2, layers.Conv2D), (3, layers.Conv3D)):
    size = (2, 3, 2)[:rank]

    def conv(name, *args, rank=rank, cls=cls, **kwargs):
        add_convolution(f"conv{rank}d_{name}", cls, rank, *args, **kwargs)

    conv("valid", 3, size, activation="tanh")
    conv("same", 3, size, padding="same")
    conv("strided_same", 3, 3, strides=2, padding="same")
    conv("dilated_same", 3, 2, dilation_rate=2, padding="same")
    conv("no_bias", 2, 2, use_bias=False)
    conv("grouped", 6, 2, groups=2, channels=4, padding="same")
    if rank < 3:
        conv("strided_valid", 3, size, strides=2)
        conv("dilated_valid", 3, 2, dilation_rate=2)
        conv("pointwise", 5, 1)
        conv("channels_first", 3, 2, padding="same", data_format="channels_first")
        conv("whole_image", 4, _SPATIAL[rank])
        conv("grouped_strided", 4, 3, strides=2, groups=2, channels=4)

add_convolution("conv1d_causal", layers.Conv1D, 1, 3, 3, padding="causal")
add_convolution(
    "conv1d_causal_dilated", layers.Conv1D, 1, 3, 2, padding="causal", dilation_rate=2
)
add_convolution("conv2d_uneven_strides", layers.Conv2D, 2, 3, 3, strides=(2, 1))
add_convolution("conv2d_uneven_dilation", layers.Conv2D, 2, 3, 2, dilation_rate=(1, 2))
add_convolution("conv2d_wider_than_image", layers.Conv2D, 2, 2, 7, padding="same")
add_convolution("conv2d_many_filters", layers.Conv2D, 2, 40, (5, 4))
add_convolution(
    "conv2d_channels_first_strided",
    layers.Conv2D,
    2,
    3,
    3,
    strides=2,
    data_format="channels_first",
)

for rank, cls in ((1, layers.DepthwiseConv1D), (2, layers.DepthwiseConv2D)):
    for name, kwargs in {
        "same": {"padding": "same", "activation": "silu"},
        "multiplied": {"depth_multiplier": 2},
        "strided": {"strides": 2, "padding": "same"},
        "dilated_no_bias": {"dilation_rate": 2, "use_bias": False},
        "channels_first": {"data_format": "channels_first", "depth_multiplier": 2},
    }.items():
        size = 2 if "dilated" in name else 3
        add_convolution(f"depthwise{rank}d_{name}", cls, rank, size, **kwargs)

for rank, cls in ((1, layers.SeparableConv1D), (2, layers.SeparableConv2D)):
    for name, kwargs in {
        "same": {"padding": "same", "activation": "tanh"},
        "multiplied_strided": {"depth_multiplier": 2, "strides": 2},
        "dilated_no_bias": {"dilation_rate": 2, "use_bias": False},
        "channels_first": {"data_format": "channels_first"},
    }.items():
        add_convolution(f"separable{rank}d_{name}", cls, rank, 3, 2, **kwargs)

for rank, cls in (
    (1, layers.Conv1DTranspose),
    (2, layers.Conv2DTranspose),
    (3, layers.Conv3DTranspose),
):
    for name, kwargs in {
        "valid": {"activation": "tanh"},
        "strided_same": {"strides": 2, "padding": "same"},
        "strided_valid": {"strides": 2, "use_bias": False},
        "output_padding": {"strides": 2, "output_padding": 1, "padding": "same"},
        "dilated": {"dilation_rate": 2},
        "channels_first": {"data_format": "channels_first", "padding": "same"},
    }.items():
        if rank == 3 and name not in ("valid", "strided_same"):
            continue
        if BACKEND == "tensorflow" and name == "dilated":
            continue  # Its convolution does not run on a CPU.
        size = 2 if rank == 3 else 3
        add_convolution(f"conv{rank}d_transpose_{name}", cls, rank, 2, size, **kwargs)

# --- normalisation ---------------------------------------------------------------

add("batch_normalization_vector", lazily(layers.BatchNormalization), (4,))
add("batch_normalization_image", lazily(layers.BatchNormalization), (3, 4, 2))
add("batch_normalization_axis_1", lazily(layers.BatchNormalization, axis=1), (3, 4, 2))
add(
    "batch_normalization_no_scale", lazily(layers.BatchNormalization, scale=False), (4,)
)
add(
    "batch_normalization_no_center",
    lazily(layers.BatchNormalization, center=False),
    (4,),
)
add("layer_normalization_vector", lazily(layers.LayerNormalization), (4,))
add("layer_normalization_sequence", lazily(layers.LayerNormalization), (3, 4))
add("layer_normalization_axes", lazily(layers.LayerNormalization, axis=[1, 2]), (3, 4))
if BACKEND != "torch":  # Where Keras mistakes the axis.
    add("layer_normalization_axis_1", lazily(layers.LayerNormalization, axis=1), (3, 4))
add(
    "layer_normalization_no_scale", lazily(layers.LayerNormalization, scale=False), (4,)
)
add("group_normalization", lazily(layers.GroupNormalization, groups=2), (3, 2, 4))
add(
    "group_normalization_instance", lazily(layers.GroupNormalization, groups=-1), (5, 3)
)
add("group_normalization_axis_1", lazily(layers.GroupNormalization, 2, axis=1), (4, 3))
add("rms_normalization", lazily(layers.RMSNormalization), (3, 4))
add("rms_normalization_vector", lazily(layers.RMSNormalization), (4,))
add("prelu", lazily(layers.Dense, 5), lazily(layers.PReLU), (4,))
add("prelu_image", lazily(layers.PReLU), (3, 2, 4))
add("prelu_shared", lazily(layers.PReLU, shared_axes=[1, 2]), (3, 2, 4))

# --- embeddings ------------------------------------------------------------------

add("embedding", lazily(layers.Embedding, 6, 3), Ids((5,), 6))
add("embedding_vector", lazily(layers.Embedding, 3, 4), Ids((), 3))
add("embedding_table", lazily(layers.Embedding, 4, 2), Ids((2, 3), 4))


@case
def embedding_masked():
    ids = keras.Input((6,), dtype="int32")
    x = layers.Embedding(3, 4, mask_zero=True)(ids)
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(ids, head(x)), Ids((6,), 3)


@case
def embedding_masked_lstm():
    ids = keras.Input((4,), dtype="int32")
    x = layers.Embedding(3, 2, mask_zero=True)(ids)
    return keras.Model(ids, head(layers.LSTM(2)(x))), Ids((4,), 3)


@case
def embedding_twice():
    ids, more = keras.Input((3,), dtype="int32"), keras.Input((2,), dtype="int32")
    table = layers.Embedding(4, 3)
    x = layers.Concatenate(axis=1)([table(ids), ops.silu(table(more))])
    return keras.Model([ids, more], head(x)), [Ids((3,), 4), Ids((2,), 4)]


class Positions(layers.Layer):
    """Learned positions: a layer called on what is the same for all examples."""

    def __init__(self, batched, **kwargs):
        super().__init__(**kwargs)
        self.batched = batched

    def build(self, shape):
        self.table = layers.Embedding(shape[1], shape[2], name="positions")
        self.dense = layers.Dense(shape[2], name="of_constants")
        self.table.build((None,))
        self.dense.build((None, shape[2]))

    def call(self, x):
        places = ops.arange(x.shape[1])
        places = places[None] if self.batched else places
        return x + self.dense(self.table(places))


# As many positions as examples, and not.
for length in (2, 3, 4, 6):
    add(f"positions_{length}", lambda: Positions(batched=False), (length, 3))
    add(f"positions_batched_{length}", lambda: Positions(batched=True), (length, 3))


class TiedOutput(layers.Layer):
    """Logits by the transposed table of another layer."""

    def __init__(self, table, **kwargs):
        super().__init__(**kwargs)
        self.table = table

    def call(self, x):
        return ops.matmul(x, ops.transpose(self.table.embeddings))


class LanguageModel(keras.Model):
    def __init__(self):
        super().__init__()
        self.table = layers.Embedding(3, 4, name="table")
        self.dense = layers.Dense(4, activation="tanh")
        self.tied = TiedOutput(self.table)

    def call(self, ids):
        return self.tied(self.dense(ops.mean(self.table(ids), axis=1)))


@case
def tied_by_matmul():
    model = LanguageModel()
    model(np.zeros((1, 4), "int32"))
    return model, Ids((4,), 3)


if hasattr(layers, "ReversibleEmbedding"):

    class Reversible(keras.Model):
        def __init__(self, tied):
            super().__init__()
            self.table = layers.ReversibleEmbedding(3, 4, tie_weights=tied)
            self.dense = layers.Dense(4, activation="tanh")

        def call(self, ids):
            x = self.dense(self.table(ids))
            return self.table(ops.mean(x, axis=1), reverse=True)

    @case
    def reversible_embedding():
        model = Reversible(tied=True)
        model(np.zeros((1, 4), "int32"))
        return model, Ids((4,), 3)

    @case
    def reversible_embedding_untied():
        model = Reversible(tied=False)
        model(np.zeros((1, 4), "int32"))
        return model, Ids((4,), 3)


# --- attention -------------------------------------------------------------------


@case
def multi_head_attention():
    inputs = keras.Input((4, 3))
    x = layers.MultiHeadAttention(2, 2)(inputs, inputs)
    return keras.Model(inputs, head(x)), (4, 3)


@case
def multi_head_attention_causal_no_bias():
    inputs = keras.Input((4, 3))
    attention = layers.MultiHeadAttention(2, 3, use_bias=False)
    x = attention(inputs, inputs, use_causal_mask=True)
    return keras.Model(inputs, head(x)), (4, 3)


@case
def multi_head_attention_cross():
    query, value = keras.Input((2, 3)), keras.Input((4, 5))
    x = layers.MultiHeadAttention(2, 2, output_shape=4)(query, value)
    return keras.Model([query, value], head(x)), [(2, 3), (4, 5)]


@case
def multi_head_attention_axes():
    inputs = keras.Input((2, 3, 4))
    x = layers.MultiHeadAttention(2, 2, attention_axes=(1, 2))(inputs, inputs)
    return keras.Model(inputs, head(x)), (2, 3, 4)


@case
def multi_head_attention_masked():
    ids = keras.Input((4,), dtype="int32")
    x = layers.Embedding(4, 3, mask_zero=True)(ids)
    x = layers.MultiHeadAttention(1, 2)(x, x)
    return keras.Model(ids, head(x)), Ids((4,), 4)


@case
def grouped_query_attention():
    inputs = keras.Input((4, 3))
    attention = layers.GroupQueryAttention(
        head_dim=2, num_query_heads=4, num_key_value_heads=2
    )
    return keras.Model(inputs, head(attention(inputs, inputs))), (4, 3)


# --- one layer, several calls ----------------------------------------------------


@case
def shared_dense():
    inputs = keras.Input((4,))
    dense = layers.Dense(4, activation="tanh", name="shared")
    return keras.Model(inputs, head(dense(dense(dense(inputs))))), (4,)


@case
def shared_dense_over_other_shapes():
    vector, sequence = keras.Input((4,)), keras.Input((3, 4))
    dense = layers.Dense(4, activation="tanh", name="shared")
    x = layers.Add()([dense(vector), ops.mean(dense(sequence), axis=1)])
    return keras.Model([vector, sequence], head(x)), [(4,), (3, 4)]


@case
def shared_convolution():
    inputs = keras.Input((8, 8, 2))
    conv = layers.Conv2D(2, 3, padding="same", activation="silu", name="shared")
    x = conv(layers.AveragePooling2D(2)(conv(inputs)))
    return keras.Model(inputs, head(x)), (8, 8, 2)


@case
def shared_normalization():
    inputs = keras.Input((4,))
    scale = layers.BatchNormalization(name="shared")
    x = layers.Add()([scale(inputs), scale(ops.silu(scale(inputs)))])
    return keras.Model(inputs, head(x)), (4,)


@case
def shared_submodel():
    left, right = keras.Input((4,)), keras.Input((4,))
    tower = keras.Sequential(
        [keras.Input((4,)), layers.Dense(5, activation="silu"), layers.Dense(3)]
    )
    x = layers.Multiply()([tower(left), tower(right)])
    return keras.Model([left, right], head(x)), [(4,), (4,)]


@case
def shared_with_a_dead_branch():
    inputs = keras.Input((4,))
    dense = layers.Dense(4, activation="silu", name="shared")
    x = layers.Add()([dense(inputs), 0 * dense(ops.stop_gradient(dense(inputs)))])
    return keras.Model(inputs, head(ops.stop_gradient(x))), (4,)


class KernelUser(layers.Layer):
    """Uses the kernel of another layer, behind that layer's back."""

    def __init__(self, dense, **kwargs):
        super().__init__(**kwargs)
        self.dense = dense

    def call(self, x):
        return ops.silu(ops.matmul(x, self.dense.kernel))


@case
def kernel_used_by_matmul():
    inputs = keras.Input((4,))
    dense = layers.Dense(4, activation="silu", name="the_owner")
    x = dense(inputs)
    return keras.Model(inputs, head(KernelUser(dense)(x))), (4,)


# --- how models are made ---------------------------------------------------------


def tower(name, shape=(4,)):
    return keras.Sequential(
        [
            keras.Input(shape),
            layers.Dense(4, activation="silu", name="first"),
            layers.Dense(3, name="second"),
        ],
        name=name,
    )


@case
def nested_models_with_equal_names():
    inputs = keras.Input((4,))
    inner = tower("inner")
    outer_inputs = keras.Input((4,))
    outer = keras.Model(
        outer_inputs, layers.Dense(4, name="first")(inner(outer_inputs))
    )
    x = layers.Concatenate()([outer(inputs), tower("inner_too")(inputs)])
    return keras.Model(inputs, head(x)), (4,)


class Block(layers.Layer):
    """Sublayers, and weights of its own beside them."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.inner = [layers.Dense(units, activation="silu") for _ in range(2)]

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones")
        for dense in self.inner:
            dense.build(shape)

    def call(self, x):
        for dense in self.inner:
            x = x + self.scale * dense(x)
        return x


class Subclassed(keras.Model):
    """Without `training`, a layer that is never called, weights of its own."""

    def __init__(self):
        super().__init__()
        self.block = Block(4)
        self.unused = layers.Dense(4)
        self.unused.build((None, 4))
        self.logits = layers.Dense(3)
        self.shift = self.add_weight(shape=(3,), initializer="zeros", name="shift")
        self.temperature = self.add_weight(shape=(), initializer="ones", name="t")

    def call(self, x):
        return self.temperature * ops.silu(self.logits(self.block(x)) + self.shift)


@case
def subclassed_with_own_weights():
    model = Subclassed()
    model(np.zeros((1, 4)))
    return model, (4,)


@case
def sequential_built_by_a_call():
    model = keras.Sequential([layers.Dense(5, activation="silu"), layers.Dense(3)])
    model(np.zeros((1, 4)))
    return model, (4,)


class Bilinear(layers.Layer):
    """Not linear in its weight."""

    def build(self, shape):
        self.weight = self.add_weight(shape=(shape[-1], 3), initializer="glorot_normal")

    def call(self, x):
        return ops.matmul(x, ops.silu(self.weight)) * ops.sum(self.weight**2)


add("custom_layer", lazily(Bilinear), (4,))
add("custom_layer_over_a_sequence", lazily(Bilinear), (3, 4))


class ScaledDense(layers.Dense):
    """A Dense with a computation of its own."""

    def call(self, x):
        return 2 * super().call(x) * ops.sum(self.kernel**2)


add("dense_subclass_with_own_call", lazily(ScaledDense, 4, activation="silu"), (4,))


class RenamedDense(layers.Dense):
    """A Dense by another name."""


add("dense_subclass_without_own_call", lazily(RenamedDense, 4), (4,))


class StandardizedConv(layers.Conv2D):
    """Another kernel than the variable, by the way that Keras offers."""

    def convolution_op(self, inputs, kernel):
        centered = kernel - ops.mean(kernel, axis=(0, 1, 2), keepdims=True)
        return super().convolution_op(inputs, centered)


add("conv_subclass_with_own_convolution", lazily(StandardizedConv, 3, 2), (4, 4, 2))


@case
def normalization_wrapper():
    inputs = keras.Input((4,))
    x = layers.SpectralNormalization(layers.Dense(4))(inputs)
    return keras.Model(inputs, head(x)), (4,)


@case
def dropout_and_regularizer():
    inputs = keras.Input((4,))
    x = layers.Dense(5, activation="silu", kernel_regularizer="l2")(inputs)
    x = layers.Dropout(0.5)(layers.GaussianNoise(1.0)(x))
    return keras.Model(inputs, head(x)), (4,)


@case
def residual():
    inputs = keras.Input((4, 4, 3))
    x = layers.Conv2D(3, 3, padding="same", use_bias=False)(inputs)
    x = layers.BatchNormalization()(x)
    x = layers.Add()([inputs, layers.Activation("silu")(x)])
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, head(x)), (4, 4, 3)


# --- what only the fallback knows ------------------------------------------------

add("lstm", lazily(layers.LSTM, 3), (4, 2))
add("gru_sequences", lazily(layers.GRU, 2, return_sequences=True), (3, 2))
add(
    "bidirectional",
    lambda: layers.Bidirectional(layers.GRU(2, return_sequences=True)),
    (3, 2),
)
add(
    "time_distributed",
    lambda: layers.TimeDistributed(layers.Dense(3, activation="silu")),
    (4, 2),
)
add("simple_rnn", lazily(layers.SimpleRNN, 2), (3, 2))


class Scan(layers.Layer):
    """A layer with a rule, called in a loop of the backend."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(3, activation="silu", name="in_a_loop")

    def build(self, shape):
        self.dense.build((None, shape[-1]))

    def call(self, x):
        return ops.fori_loop(0, 3, lambda i, state: self.dense(state), x)


class Mapped(Scan):
    def call(self, x):
        return ops.vectorized_map(lambda row: self.dense(row[None])[0], x)


class Stacked(Scan):
    def call(self, x):
        return ops.scan(lambda carry, _: (self.dense(carry), carry), x, length=2)[0]


if BACKEND != "jax":  # Which does not differentiate backwards through its fori_loop.
    add("dense_in_a_loop", Scan, (3,))
add("dense_in_a_scan", Stacked, (3,))
add("dense_in_a_map", Mapped, (3,))


class Several(layers.Layer):
    """Custom weights, two tensors in and two out, one of them integer."""

    def build(self, shapes):
        self.weight = self.add_weight(shape=(shapes[0][-1], 3), initializer="normal")

    def call(self, inputs, scale=1.0):
        a, b = inputs
        y = ops.silu(ops.matmul(a, self.weight)) * scale
        return {"y": y, "ids": ops.argmax(a, axis=-1), "z": y * ops.sum(b, -1)[:, None]}


@case
def custom_layer_of_several_tensors():
    a, b = keras.Input((4,)), keras.Input((2,))
    out = Several()([layers.Dense(4)(a), b], scale=0.5)
    x = out["y"] + out["z"]
    return keras.Model([a, b], head(x)), [(4,), (2,)]


# --- inputs ----------------------------------------------------------------------


@case
def dict_inputs():
    inputs = {
        "vector": keras.Input((4,), name="vector"),
        "ids": keras.Input((3,), dtype="int32", name="ids"),
    }
    x = layers.Flatten()(layers.Embedding(4, 2)(inputs["ids"]))
    x = layers.Concatenate()([x, layers.Dense(3)(inputs["vector"])])
    return keras.Model(inputs, head(x)), {"vector": (4,), "ids": Ids((3,), 4)}


@case
def integer_inputs():
    inputs = keras.Input((4,), dtype="int32")
    x = layers.Dense(4, activation="silu")(layers.Rescaling(0.25)(inputs))
    return keras.Model(inputs, head(x)), Ids((4,), 8)


@case
def several_inputs():
    a, b = keras.Input((4,)), keras.Input((2, 3))
    x = layers.Concatenate()([layers.Dense(3)(a), layers.Flatten()(b)])
    return keras.Model([a, b], head(x)), [(4,), (2, 3)]


# --- what they are for ----------------------------------------------------------

# The library is to say that a rule does not hold, and name this layer.
WARNED = {
    "kernel_used_by_matmul": "the_owner",
    "tied_by_matmul": "table",
    "conv_subclass_with_own_convolution": "standardized_conv",
}


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
