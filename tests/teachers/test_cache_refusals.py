"""A cache used with what it was not built of is refused, by what differs."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_caches import BATCH, CLASSES, build, examples, network, sparse_loss

from keras_kd import Distiller

pytestmark = pytest.mark.one_backend

X, Y = examples(64)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    return build(network(12, "teacher"), (X, Y), folder)


def refused(cache, message, x=X, y=Y, kind="arrays", **kwargs):
    """By `fit`, before the student has changed."""
    student = network()
    start = student.get_weights()
    distiller = Distiller(cache, student, alpha=0.5)
    distiller.compile("sgd", sparse_loss(), run_eagerly=True)
    if kind == "tf.data":
        x, y = tf.data.Dataset.from_tensor_slices((x, y)).batch(BATCH), None
    elif kind == "arrays":
        kwargs = {"batch_size": BATCH, "shuffle": False}
    with pytest.raises(ValueError, match=message):
        distiller.fit(x, y, verbose=0, **kwargs)
    for one, other in zip(start, student.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.wrong_input
@pytest.mark.parametrize("kind", ["arrays", "tf.data"])
def test_other_data(cache, kind):
    other, _ = examples(64, seed=1)
    refused(cache, "8 of 8 are not in it. They are other examples", other, kind=kind)
    refused(cache, "range from .*: another preprocessing", X / 255, kind=kind)
    refused(cache, "range from .*: another preprocessing", X * 255, kind=kind)


@pytest.mark.wrong_input
def test_one_other_example(cache):
    x = X.copy()
    x[3] += 1e-6
    refused(cache, "1 of 8 are not in it. They are other examples", x)


@pytest.mark.wrong_input
def test_other_shapes_and_types(cache):
    refused(cache, r"have the shape \[5\], the cache's \[6\]", X[:, :5])
    refused(cache, "have 2 inputs, the cache's 1", {"a": X, "b": X})
    refused(cache, "are of dtype int32, the cache's of float32", X.astype("int32"))


@pytest.mark.wrong_input
@pytest.mark.parametrize("kind", ["arrays", "tf.data"])
@pytest.mark.parametrize("one_hot", [False, True])
def test_another_order_of_classes(cache, kind, one_hot):
    y = np.array([2, 0, 1, 3])[Y]
    start = network()
    distiller = Distiller(cache, start, output_kind="categorical")
    if one_hot:
        y = np.eye(CLASSES, dtype="float32")[y]
    distiller.compile("sgd", run_eagerly=True)
    data = {"x": X, "y": y, "batch_size": BATCH}
    if kind == "tf.data":
        data = {"x": tf.data.Dataset.from_tensor_slices((X, y)).batch(BATCH)}
    message = "labels must be in the order of classes.*label . for all examples whose"
    with pytest.raises(ValueError, match=message):
        distiller.fit(**data, verbose=0)


@pytest.mark.wrong_input
def test_another_order_of_many_classes(tmp_path):
    """A batch has no more than one or two examples of each."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(128, 6)), rng.integers(0, 100, 128)
    cache = build(network(12), (x, y), tmp_path)
    distiller = Distiller(cache, network(), output_kind="categorical")
    distiller.compile("sgd", run_eagerly=True)
    with pytest.raises(ValueError, match="order of classes"):
        distiller.fit(x, rng.permutation(100)[y], 64, verbose=0)


def test_labels_that_differ_one_by_one_are_no_other_order(cache):
    """Noise, a coarser task, or few examples that happen to agree."""
    rng = np.random.default_rng(0)
    noisy = np.where(rng.uniform(size=len(Y)) < 0.5, (Y + 1) % CLASSES, Y)
    distiller = Distiller(cache, network(), output_kind="categorical")
    distiller.compile("sgd", run_eagerly=True)
    for y in (noisy, Y // 2, np.zeros_like(Y), Y, None, Y / 2, Y[:, None] * 1.0):
        distiller.fit(X, y, BATCH, verbose=0)
    distiller.fit(X[:4], (Y[:4] + 1) % CLASSES, verbose=0)


@pytest.mark.wrong_input
def test_a_layer_that_is_not_held(cache, tmp_path):
    def hint(name):
        return keras.distillation.FeatureDistillation("mse", name, "hidden")

    message = (
        "must hold the layers that losses tap.*teacher_layer_name='hidden'.*holds "
        r"\[\]. Build it with taps=\['hidden'\]"
    )
    with pytest.raises(ValueError, match=message):
        Distiller(cache, network(12), hint("hidden"))
    held = build(network(12), X, tmp_path, taps=["hidden"])
    Distiller(held, network(12), hint("hidden"))
    with pytest.raises(ValueError, match="teacher_layer_name='logits'"):
        Distiller(held, network(12), hint("logits"))
    with pytest.raises(ValueError, match="a mean has none"):
        Distiller(held.mean([0, 0]), network(12), hint("hidden"))


@pytest.mark.wrong_input
def test_what_does_not_come_from_fit(cache):
    distiller = Distiller(cache, network(), output_kind="categorical")
    distiller.compile("sgd", run_eagerly=True)
    with pytest.raises(
        ValueError, match=r"supervises what `fit` draws.*train_on_batch"
    ):
        distiller.train_on_batch(X[:8], Y[:8])


@pytest.mark.wrong_input
def test_outputs_that_do_not_fit(cache):
    student = keras.Sequential([keras.Input((6,)), keras.layers.Dense(CLASSES + 1)])
    with pytest.raises(ValueError, match="same"):
        Distiller(cache, student)
    with pytest.raises(ValueError, match=r"`teacher_outputs`.*=probabilities"):
        Distiller(cache, network(), teacher_outputs="probabilities")
    with pytest.raises(ValueError, match="train_teacher=True"):
        Distiller(cache, network(), train_teacher=True)
    with pytest.raises(ValueError, match=r"`keras\.Model` or a `SupervisionCache`"):
        Distiller(str(cache.folder), network())


@pytest.mark.wrong_input
def test_an_index_that_does_not_exist(cache):
    for call in (
        cache.stage,
        lambda i: cache.mean([0, i]),
        lambda i: cache.predict(X, i),
    ):
        with pytest.raises(IndexError, match=r"must be in \[-1, 1\)"):
            call(1)
    with pytest.raises(ValueError, match="are not in it"):
        cache.predict(X + 1)


@pytest.mark.wrong_input
def test_another_teacher(cache):
    other = network(12)
    other.set_weights([w + 1 for w in other.get_weights()])
    with pytest.raises(ValueError, match="one, checkpoint 0 with the fingerprint"):
        cache.check_teacher(other)
