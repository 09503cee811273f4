"""Two replicas give the weights that one device gives."""

import keras
import numpy as np
import pytest
from networks import copy_weights, images, plain, sparse_loss

from keras_kd import Distiller, SupervisionCache
from keras_kd.losses import FeatureHint, SoftTargets

BACKEND = keras.backend.backend()


def losses(kind):
    return {
        "ours": lambda: [SoftTargets(2.0), FeatureHint("conv1", "conv1")],
        "keras_objects": lambda: keras.distillation.LogitsDistillation(
            2.0, loss=keras.losses.KLDivergence()
        ),
        "keras_functions": lambda: keras.distillation.FeatureDistillation("mse"),
    }[kind]()


def train(teacher, student, kind, **kwargs):
    """Two epochs on weighted examples; the logs and the student's weights."""
    x, y = images(32)
    weight = np.linspace(0.5, 1.5, 32).astype("float32") if kind == "ours" else None
    distiller = Distiller(teacher, student, losses(kind), alpha=0.5, **kwargs)
    distiller.compile(keras.optimizers.SGD(0.05), sparse_loss(), metrics=["accuracy"])
    history = distiller.fit(
        x, y, sample_weight=weight, batch_size=8, epochs=2, shuffle=False, verbose=0
    ).history
    return history, student.get_weights()


def cached(teacher, folder):
    return SupervisionCache.build(teacher, images(32)[0], folder, progress=False)


def build():
    regulariser = keras.regularizers.L2(1e-2)
    return plain(4), plain(4, kernel_regularizer=regulariser)


def assert_same_run(one, other):
    for a, b in zip(one[1], other[1], strict=True):
        np.testing.assert_allclose(a, b, atol=2e-6)
    assert set(one[0]) == set(other[0])
    for key in one[0]:
        np.testing.assert_allclose(one[0][key], other[0][key], rtol=1e-4, err_msg=key)


if BACKEND == "tensorflow":
    import tensorflow as tf

    @pytest.fixture(scope="module")
    def strategy():
        cpu = tf.config.list_physical_devices("CPU")[0]
        if len(tf.config.list_logical_devices("CPU")) < 2:
            pytest.fail(f"{cpu} has one logical device: see tests/conftest.py")
        return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])

    @pytest.mark.parametrize("together", [False, True])
    @pytest.mark.parametrize("kind", ["ours", "keras_objects", "keras_functions"])
    def test_mirrored_strategy_equals_one_device(strategy, kind, together):
        teacher, student = build()
        with strategy.scope():
            others = [
                copy_weights(a, b)
                for a, b in zip((teacher, student), build(), strict=True)
            ]
            kwargs = {"train_teacher": together}
        keras.utils.set_random_seed(1)
        one = train(teacher, student, kind, **kwargs)
        keras.utils.set_random_seed(1)
        with strategy.scope():
            two = train(*others, kind, **kwargs)
        assert strategy.num_replicas_in_sync == 2
        assert_same_run(one, two)

    def test_cached_teacher_on_two_replicas(strategy, tmp_path):
        teacher, student = build()
        with strategy.scope():
            other = copy_weights(student, build()[1])
        cache = cached(teacher, tmp_path)
        one = train(cache, student, "keras_objects")
        with strategy.scope():
            two = train(cache, other, "keras_objects")
        assert_same_run(one, two)

    def test_synchronised_batch_normalisation(strategy):
        def network():
            return keras.Sequential(
                [
                    keras.Input((8, 8, 3)),
                    keras.layers.Conv2D(4, 3, name="conv1"),
                    keras.layers.BatchNormalization(synchronized=True, name="norm"),
                    keras.layers.Flatten(),
                    keras.layers.Dense(5),
                ]
            )

        teacher, student = network(), network()
        with strategy.scope():
            others = [copy_weights(m, network()) for m in (teacher, student)]
        one = train(teacher, student, "keras_objects")
        with strategy.scope():
            two = train(*others, "keras_objects")
        assert_same_run(one, two)


if BACKEND == "jax":
    import jax

    @pytest.mark.parametrize(
        ("kind", "is_cached"),
        [
            ("ours", False),
            ("keras_objects", False),
            ("keras_functions", False),
            ("keras_objects", True),
        ],
    )
    def test_data_parallel_equals_one_device(kind, is_cached, tmp_path):
        assert len(jax.devices()) == 2, "see tests/conftest.py"
        teacher, student = build()
        weights = teacher.get_weights(), student.get_weights()
        source = cached(teacher, tmp_path) if is_cached else teacher
        keras.utils.set_random_seed(1)
        one = train(source, student, kind)
        keras.distribution.set_distribution(keras.distribution.DataParallel())
        try:
            others = build()
            for model, values in zip(others, weights, strict=True):
                model.set_weights(values)
            keras.utils.set_random_seed(1)
            two = train(source if is_cached else others[0], others[1], kind)
            kernel = others[1].layers[0].kernel.value
            assert len(kernel.sharding.device_set) == 2
        finally:
            keras.distribution.set_distribution(None)
        assert_same_run(one, two)


if BACKEND == "torch":

    def test_one_replica():
        from keras_kd.backend import replica_count

        assert replica_count() == 1
