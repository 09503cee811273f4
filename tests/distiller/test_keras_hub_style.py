"""Models as KerasHub writes them: subclasses that build a functional graph."""

import keras
import numpy as np
from networks import CLASSES, assert_same_bits, images, plain, sparse_loss, state

from keras_kd import Distiller
from keras_kd.losses import FeatureHint, SoftTargets


@keras.saving.register_keras_serializable(package="test")
class Backbone(keras.Model):
    def __init__(self, filters, image_shape=(8, 8, 3), **kwargs):
        inputs = keras.Input(image_shape)
        x = keras.layers.Conv2D(filters, 3, name="stem")(inputs)
        x = keras.layers.BatchNormalization(name="stem_norm")(x)
        super().__init__(inputs=inputs, outputs=x, **kwargs)
        self.filters = filters
        self.image_shape = image_shape

    def get_config(self):
        return {
            "filters": self.filters,
            "image_shape": self.image_shape,
            "name": self.name,
        }


@keras.saving.register_keras_serializable(package="test")
class ImageClassifier(keras.Model):
    def __init__(self, backbone, num_classes, **kwargs):
        inputs = backbone.input
        pool = keras.layers.GlobalAveragePooling2D(name="pool")
        head = keras.layers.Dense(num_classes, name="predictions")
        super().__init__(inputs=inputs, outputs=head(pool(backbone(inputs))), **kwargs)
        self.backbone = backbone
        self.num_classes = num_classes

    def get_config(self):
        return {
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "num_classes": self.num_classes,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        config["backbone"] = keras.saving.deserialize_keras_object(config["backbone"])
        return cls(**config)


def test_subclassed_graph_as_teacher(tmp_path):
    x, y = images()
    teacher = ImageClassifier(Backbone(6, name="backbone"), CLASSES)
    before = state(teacher)
    losses = [SoftTargets(), FeatureHint("backbone/stem", "conv1")]
    distiller = Distiller(teacher, plain(), losses, alpha=0.5)
    distiller.compile(keras.optimizers.Adam(0.01), sparse_loss())
    history = distiller.fit(x, y, epochs=3, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert_same_bits(before, state(teacher))
    distiller.save(tmp_path / "distiller.keras")
    loaded = keras.models.load_model(tmp_path / "distiller.keras")
    assert isinstance(loaded.teacher, ImageClassifier)
    for one, other in zip(
        teacher.get_weights(), loaded.teacher.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(one, other)


class Tagger(keras.Model):
    """A subclassed model of a dictionary of inputs."""

    def __init__(self, width, **kwargs):
        super().__init__(**kwargs)
        self.embed = keras.layers.Embedding(9, width)
        self.blocks = [keras.layers.Dense(width, activation="relu") for _ in range(2)]
        self.head = keras.layers.Dense(CLASSES)

    def call(self, inputs):
        x = self.embed(inputs["token_ids"])
        x = x * keras.ops.cast(inputs["padding_mask"], x.dtype)[..., None]
        for block in self.blocks:
            x = block(x)
        return self.head(keras.ops.mean(x, axis=1))


def test_hints_between_subclassed_models_of_dictionaries():
    rng = np.random.default_rng(0)
    x = {
        "token_ids": rng.integers(0, 9, (32, 6)).astype("int32"),
        "padding_mask": rng.integers(0, 2, (32, 6)).astype("bool"),
    }
    teacher, student = Tagger(8), Tagger(4)
    for model in (teacher, student):
        model({key: value[:2] for key, value in x.items()})
    hint = FeatureHint("blocks/0", "blocks/-1")
    distiller = Distiller(teacher, student, {"hint": hint, "soft": SoftTargets()})
    assert tuple(hint.projection.kernel.shape) == (4, 8)
    distiller.compile(keras.optimizers.Adam(0.01), sparse_loss())
    history = distiller.fit(x, epochs=8, verbose=0).history
    assert history["hint_loss"][-1] < history["hint_loss"][0]
