"""Small models that are put together, called or fed in ways a rule may not expect."""

import keras
import numpy as np
from keras import layers, ops
from ntk_cases import BACKEND, Ids, add, case, head, lazily

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
