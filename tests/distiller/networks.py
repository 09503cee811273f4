"""Small models and data that the tests of the distiller share."""

import keras
import numpy as np

CLASSES = 5


def images(n=32, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 8, 8, 3)).astype("float32")
    y = rng.integers(0, CLASSES, size=n).astype("int32")
    return x, y


def convnet(filters=4, name=None, classes=CLASSES, activation=None, **dense):
    """A network with batch statistics, to be changed by anything that goes wrong."""
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(filters, 3, padding="same", name="conv1")(inputs)
    x = keras.layers.BatchNormalization(name="norm1")(x)
    x = keras.layers.ReLU(name="relu1")(x)
    x = keras.layers.Conv2D(filters, 3, strides=2, padding="same", name="conv2")(x)
    x = keras.layers.ReLU(name="relu2")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    x = keras.layers.Dense(classes, activation=activation, name="logits", **dense)(x)
    return keras.Model(inputs, x, name=name)


def plain(filters=4, name=None, **kwargs):
    """Like `convnet`, without batch statistics and random layers."""
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(filters, 3, activation="relu", name="conv1"),
            keras.layers.Flatten(name="flat"),
            keras.layers.Dense(CLASSES, name="logits", **kwargs),
        ],
        name=name,
    )


@keras.saving.register_keras_serializable(package="test")
class RestlessTeacher(keras.Model):
    """A teacher in which everything moves that can: it must not while it teaches."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.conv = keras.layers.Conv2D(
            6, 3, kernel_regularizer="l2", activity_regularizer="l2", name="conv"
        )
        self.norm = keras.layers.BatchNormalization(name="norm")
        self.noise = keras.layers.GaussianNoise(0.5, name="noise")
        self.drop = keras.layers.Dropout(0.5, name="drop")
        self.pool = keras.layers.GlobalAveragePooling2D(name="pool")
        self.head = keras.layers.Dense(CLASSES, name="head")
        self.seen = keras.metrics.Mean(name="seen")

    def call(self, x, training=None):
        x = self.norm(self.conv(x), training=training)
        x = self.drop(self.noise(x, training=training), training=training)
        self.add_loss(1e3 * keras.ops.mean(x**2))
        if not training:  # Keras on JAX has no metrics in `call` while it trains
            self.seen.update_state(keras.ops.mean(x))
        return self.head(self.pool(x))


def restless_teacher():
    teacher = RestlessTeacher(name="restless")
    teacher(images(2)[0])
    return teacher


def sparse_loss():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def state(model):
    """Every bit of a model's state, as arrays by variable path and position."""
    variables = model.variables + (
        optimizer.variables if (optimizer := getattr(model, "optimizer", None)) else []
    )
    return [np.array(keras.ops.convert_to_numpy(v.value)) for v in variables]


def assert_same_bits(before, after):
    assert len(before) == len(after)
    for one, other in zip(before, after, strict=True):
        assert one.dtype == other.dtype
        assert one.tobytes() == other.tobytes()


def copy_weights(source, target):
    target.set_weights(source.get_weights())
    return target


def evaluate(distiller, *data):
    """Its logs as floats; older versions of Keras return tensors."""
    logs = distiller.evaluate(*data, return_dict=True, verbose=0)
    return {key: float(value) for key, value in logs.items()}
