"""Small models of one kind of layer each, one for each thing a rule may get wrong."""

import keras
import numpy as np
from keras import layers, ops
from ntk_cases import BACKEND, CASES, Ids, add, case, head, lazily, one_layer

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
