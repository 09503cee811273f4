import keras
import numpy as np
import pytest

from keras_kd.datasets import Batches

N, SIZE, EPOCHS = 22, 4, 4


@keras.saving.register_keras_serializable(package="keras_kd_tests")
class Stateful(keras.layers.Layer):
    """Random in a way that no seed reaches."""

    def __init__(self):
        super().__init__()
        self.generator = np.random.default_rng(0)

    def call(self, x):
        return x + float(self.generator.random())


def images():
    return np.random.default_rng(0).random((N, 8, 8, 1), "float32")


def augmentation():
    return keras.Sequential(
        [
            keras.layers.RandomFlip("horizontal"),
            keras.layers.RandomTranslation(
                0.25, 0.25, fill_mode="constant", interpolation="nearest"
            ),
        ]
    )


def batches(augment=True, **kwargs):
    return Batches(
        images(),
        np.arange(N),
        batch_size=SIZE,
        seed=3,
        augment=augmentation() if augment else None,
        **kwargs,
    )


def epoch_of(data, epoch):
    data.set_epoch(epoch)
    return [data[i] for i in range(len(data))]


def assert_same(first, second):
    assert len(first) == len(second)
    for (x1, y1), (x2, y2) in zip(first, second, strict=True):
        np.testing.assert_array_equal(x1, x2)
        np.testing.assert_array_equal(y1, y2)


def differ(first, second):
    return any(
        not np.array_equal(a[0], b[0]) for a, b in zip(first, second, strict=True)
    )


def linear_model():
    model = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(N)]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, metrics=["accuracy"])
    return model


def test_each_example_once_an_epoch():
    data = batches(augment=False)
    assert len(data) == 6
    epoch = epoch_of(data, 0)
    assert [len(y) for _, y in epoch] == [4, 4, 4, 4, 4, 2]
    labels = np.concatenate([y for _, y in epoch])
    assert sorted(labels) == list(range(N))
    for x, y in epoch:
        np.testing.assert_array_equal(x, images()[y])


@pytest.mark.parametrize("augment", [False, True])
def test_a_pure_function_of_seed_and_epoch(augment):
    data = batches(augment)
    expected = [epoch_of(data, e) for e in range(3)]
    again = batches(augment)
    # Backwards, one batch twice, and after other random numbers were drawn.
    keras.random.uniform((3,))
    np.random.default_rng(0).random(7)
    if augment:
        again.augment(images(), training=True)
    for e in (2, 0, 1):
        again.set_epoch(e)
        again[4]
        assert_same(epoch_of(again, e), expected[e])
        again.set_epoch(e)
        np.testing.assert_array_equal(again[5][0], expected[e][5][0])
    assert differ(expected[0], expected[1])
    other = Batches(images(), np.arange(N), SIZE, seed=4)
    assert differ(epoch_of(batches(False), 0), epoch_of(other, 0))


def test_augmentation_is_fresh_for_every_batch_and_epoch():
    x = np.tile(images()[:1], (N, 1, 1, 1))
    data = Batches(x, batch_size=SIZE, seed=0, augment=augmentation())
    results = {
        data._batch(epoch, i)[0].tobytes() for epoch in range(4) for i in range(5)
    }
    assert len(results) == 20
    # Flips and shifts move pixels and make none.
    values = np.append(np.unique(x), 0)
    assert np.isin(data[0][0], values).all()
    # And not every image of a batch in the same way.
    assert len({image.tobytes() for image in data[0][0]}) > 1


@pytest.mark.parametrize(("workers", "callback"), [(1, False), (3, True)])
def test_resumed_fit_sees_what_a_run_from_scratch_saw(workers, callback):
    def run(initial_epoch):
        data = batches(workers=workers)
        if not callback:
            data.set_epoch(initial_epoch)
        keras.utils.set_random_seed(0)
        model = linear_model()
        if initial_epoch:
            model.set_weights(weights[initial_epoch])
        losses = {}

        class Keep(keras.callbacks.Callback):
            def on_epoch_begin(self, epoch, logs=None):
                if not initial_epoch:
                    weights[epoch] = [np.array(w) for w in self.model.get_weights()]

            def on_epoch_end(self, epoch, logs=None):
                losses[epoch] = logs["loss"]

        follow = [data.epoch_callback()] if callback else []
        model.fit(
            data,
            epochs=EPOCHS,
            initial_epoch=initial_epoch,
            callbacks=[*follow, Keep()],
            shuffle=False,
            verbose=0,
        )
        return losses, [np.array(w) for w in model.get_weights()]

    weights = {}
    scratch, final = run(0)
    resumed, final_resumed = run(2)
    # Plain gradient descent has no state but the weights, so the same batches in the
    # same order give the same run.
    assert {e: scratch[e] for e in range(2, EPOCHS)} == pytest.approx(resumed)
    for a, b in zip(final, final_resumed, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_fit_trains_on_the_batches_of_its_epoch():
    data = batches(augment=False)
    orders = [np.concatenate([y for _, y in epoch_of(data, e)]) for e in range(EPOCHS)]
    # The loss is the label squared, so each batch's loss says which labels it held.
    seen = []

    class Keep(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            seen.append([])
            self.previous = 0.0

        def on_train_batch_end(self, batch, logs=None):
            # The logged loss is the mean over the epoch so far.
            n = min(SIZE * (batch + 1), N)
            total = float(logs["loss"]) * n
            seen[-1].append(total - self.previous)
            self.previous = total

    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
    model.compile("sgd", loss=lambda y, x: keras.ops.cast(y, "float32") ** 2)
    data.set_epoch(0)
    follow = data.epoch_callback()
    # Evaluation in between reads the data too, and changes nothing.
    model.evaluate(data, verbose=0)
    model.fit(data, epochs=EPOCHS, shuffle=False, callbacks=[follow, Keep()], verbose=0)
    for e, order in enumerate(orders):
        expected = [
            float((order[i : i + SIZE].astype(float) ** 2).sum())
            for i in range(0, N, SIZE)
        ]
        np.testing.assert_allclose(seen[e], expected, rtol=1e-3)


def test_counts_epochs_when_nobody_tells():
    data = batches(augment=False)
    model = linear_model()
    model.fit(data, epochs=2, shuffle=False, verbose=0)
    assert data.epoch == 2
    model.fit(data, epochs=4, initial_epoch=2, shuffle=False, verbose=0)
    assert data.epoch == 4


@pytest.mark.wrong_input
def test_refuses_that_fit_shuffles_too():
    # TensorFlow wraps what a data set raises.
    with pytest.raises(Exception, match="give `fit` the argument `shuffle=False`"):
        linear_model().fit(batches(augment=False), epochs=1, verbose=0)


def test_unlabelled():
    data = Batches(images(), batch_size=SIZE)
    assert [len(batch) for batch in data] == [1] * 6
    assert linear_model().predict(data, verbose=0).shape == (N, N)


@pytest.mark.wrong_input
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"y": np.arange(3)}, r"`x` and `y` must have the same length.*len\(y\)=3"),
        ({"batch_size": 0}, r"`batch_size` must be > 0. Received: batch_size=0"),
        ({"seed": -1}, r"`seed` must be >= 0. Received: seed=-1"),
        ({"workers": 0}, r"`workers` must be > 0. Received: workers=0"),
        ({"x": np.zeros((0, 8, 8, 1))}, r"`x` must hold examples"),
    ],
)
def test_refuses_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        Batches(**{"x": images(), **arguments})


@pytest.mark.wrong_input
def test_refuses_augmentation_that_no_seed_reaches():
    with pytest.raises(ValueError, match=r"`augment` must draw .*SeedGenerator"):
        Batches(images(), augment=Stateful())


@pytest.mark.wrong_input
def test_refuses_epochs():
    with pytest.raises(ValueError, match=r"`epoch` must be >= 0. Received: epoch=-1"):
        Batches(images()).set_epoch(-1)


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow",
    reason="keras-cv's augmentation computes with TensorFlow",
)
def test_keras_cv_augmentation():
    keras_cv = pytest.importorskip("keras_cv", exc_type=ModuleNotFoundError)

    results = []
    for workers in (1, 3):
        augment = keras.Sequential(
            [
                keras_cv.layers.RandomFlip("horizontal"),
                keras_cv.layers.RandomTranslation(0.25, 0.25, fill_mode="constant"),
            ]
        )
        data = Batches(
            images(), np.arange(N), SIZE, seed=1, augment=augment, workers=workers
        )
        results.append({e: epoch_of(data, e) for e in (1, 0)})
    for e in (0, 1):
        assert_same(results[0][e], results[1][e])
    assert differ(results[0][0], results[0][1])
    x, y = results[0][0][0]
    assert not np.array_equal(x, images()[y])
