"""Each kind of data that `fit` takes: each example has its own supervision."""

import grain
import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
from tiny_caches import BACKEND, BATCH, build, examples, network, watched

from keras_kd.datasets import Batches

N = 44
X, Y = examples(N)
STEPS = -(-N // BATCH)


class Shuffled(keras.utils.PyDataset):
    """Another order in every epoch."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.rng = np.random.default_rng(3)
        self.on_epoch_end()

    def __len__(self):
        return STEPS

    def on_epoch_end(self):
        self.order = self.rng.permutation(N)

    def __getitem__(self, i):
        chosen = self.order[i * BATCH : (i + 1) * BATCH]
        return X[chosen], Y[chosen]


class Ordered(Shuffled):
    """Safe to be read by several threads, and shuffled by Keras."""

    def on_epoch_end(self):
        self.order = np.arange(N)


class Examples(torch.utils.data.Dataset):
    """A source for grain as well."""

    def __len__(self):
        return N

    def __getitem__(self, i):
        return X[i], Y[i]


def tf_data(repeated=False):
    data = tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(N, seed=1)
    return (data.repeat() if repeated else data).batch(BATCH)


def grain_data():
    return grain.MapDataset.source(Examples()).seed(5).shuffle().batch(BATCH)


def torch_loader():
    generator = torch.Generator().manual_seed(0)
    return torch.utils.data.DataLoader(Examples(), BATCH, True, generator=generator)


# What `fit` is given.
KINDS = {
    "arrays": lambda: {"x": X, "y": Y, "batch_size": BATCH},
    "float64": lambda: {"x": X.astype("float64"), "y": Y, "batch_size": BATCH},
    "pydataset": lambda: {"x": Shuffled()},
    "pydataset of threads": lambda: {"x": Ordered(workers=2, max_queue_size=2)},
    "batches": lambda: {"x": Batches(X, Y, BATCH), "shuffle": False},
    "tf.data": lambda: {"x": tf_data()},
    "tf.data repeated": lambda: {"x": tf_data(True), "steps_per_epoch": STEPS - 1},
    "grain": lambda: {"x": grain_data()},
    "grain iterated": lambda: {"x": grain_data().to_iter_dataset()},
    "torch": lambda: {"x": torch_loader()},
}


@pytest.fixture(scope="module")
def teacher():
    return network(12, "teacher")


@pytest.fixture(scope="module")
def cache(teacher, tmp_path_factory):
    return build(teacher, (X, Y), tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def said(teacher):
    """What the teacher says of some examples, by Keras's own means."""
    logits = teacher.predict(X, batch_size=N, verbose=0)

    def logits_of(x):
        return logits[places_of(x)]

    return logits_of


def places_of(x):
    return [int(np.flatnonzero((row == X).all(axis=1))[0]) for row in x]


def check(seen, said):
    """Each batch has the logits, and the labels, of its own examples."""
    for x, y, _, logits in seen:
        np.testing.assert_allclose(logits, said(x), rtol=0, atol=1e-6)
        places = places_of(x)
        np.testing.assert_array_equal(np.ravel(y), Y[places])
        yield places


@pytest.mark.parametrize("kind", KINDS)
def test_training(said, cache, kind):
    distiller = watched(cache, network())
    distiller.fit(**KINDS[kind](), epochs=3, verbose=0)
    places = list(check(distiller.seen, said))
    drawn = np.concatenate(places)
    if kind == "pydataset of threads":  # which Keras draws from as they come
        assert set(drawn) <= set(range(N))
        return
    if kind == "tf.data repeated":
        assert len(places) == 3 * (STEPS - 1)
        # One iterator: the second pass over the data begins in the second epoch.
        assert sorted(drawn[:N]) == list(range(N))
        drawn = drawn[: 2 * N]
    else:
        assert len(drawn) == 3 * N
    passes = [tuple(drawn[i : i + N]) for i in range(0, len(drawn) - N + 1, N)]
    assert all(sorted(each) == list(range(N)) for each in passes)
    assert passes[0] != tuple(range(N))
    # On TensorFlow, Keras shuffles arrays alike in every epoch once a seed is set.
    alike = ["arrays", "float64"] if BACKEND == "tensorflow" else []
    if kind not in [*alike, "grain", "grain iterated"]:
        assert len(set(passes)) == len(passes)  # shuffled anew


@pytest.mark.parametrize("kind", ["pydataset", "tf.data", "grain", "torch"])
def test_building(teacher, said, tmp_path, kind):
    """Shuffled anew in each pass, and the examples are where their keys say."""
    built = build(teacher, KINDS[kind]()["x"], tmp_path)
    assert built.n == N
    assert built.has_labels
    np.testing.assert_allclose(built.predict(X), said(X), rtol=0, atol=1e-6)
    np.testing.assert_array_equal(built.labels(built.rows(X)), Y)
    accuracy = np.mean(said(X).argmax(axis=1) == Y)
    assert built[0].accuracy == pytest.approx(accuracy)
    built.verify()


def test_batches_are_left_as_they_were(teacher, tmp_path):
    """A cache must not shift the order in which the student then trains."""
    batches = Batches(X, Y, BATCH, seed=2)
    before = batches[0][0]
    build(teacher, batches, tmp_path)
    assert batches.epoch == 0
    np.testing.assert_array_equal(batches[0][0], before)


@pytest.mark.parametrize("kind", ["arrays", "pydataset", "tf.data"])
def test_weights_of_examples(said, cache, kind):
    weights = np.random.default_rng(1).uniform(size=N).astype("float32")
    data = {"x": X, "y": Y, "sample_weight": weights, "batch_size": BATCH}
    if kind == "tf.data":
        slices = tf.data.Dataset.from_tensor_slices((X, Y, weights))
        data = {"x": slices.shuffle(N, seed=1).batch(BATCH)}
    elif kind == "pydataset":
        data = {"x": Shuffled(), "class_weight": dict(enumerate(weights[:4]))}
    distiller = watched(cache, network(), alpha=0.5)
    distiller.fit(**data, verbose=0)
    places = list(check(distiller.seen, said))
    for (_, y, weight, _), chosen in zip(distiller.seen, places, strict=True):
        if kind == "pydataset":
            np.testing.assert_allclose(np.ravel(weight), weights[np.ravel(y)])
        else:
            np.testing.assert_allclose(np.ravel(weight), weights[chosen])


@pytest.mark.parametrize("kind", ["arrays", "tf.data", "pydataset", "torch", "grain"])
def test_without_labels(said, cache, kind):
    class Unlabelled(Shuffled):
        def __getitem__(self, i):
            return (super().__getitem__(i)[0],)

    data = {
        "arrays": lambda: {"x": X, "batch_size": BATCH},
        "tf.data": lambda: {
            "x": tf.data.Dataset.from_tensor_slices(X).shuffle(N).batch(BATCH)
        },
        "pydataset": lambda: {"x": Unlabelled()},
        "torch": lambda: {
            "x": torch.utils.data.DataLoader(
                torch.utils.data.TensorDataset(torch.tensor(X)), BATCH, True
            )
        },
        "grain": lambda: {
            "x": grain.MapDataset.source(X).seed(2).shuffle().batch(BATCH)
        },
    }[kind]
    distiller = watched(cache, network())
    distiller.fit(**data(), epochs=2, verbose=0)
    rows = 0
    for x, y, _, logits in distiller.seen:
        assert y is None
        np.testing.assert_allclose(logits, said(x), rtol=0, atol=1e-6)
        rows += len(x)
    assert rows == 2 * N


def two_headed(width):
    inputs = {"b": keras.Input((6,), name="b"), "a": keras.Input((2,), name="a")}
    both = keras.layers.Concatenate()([inputs["a"], inputs["b"]])
    hidden = keras.layers.Dense(width, activation="relu")(both)
    return keras.Model(
        inputs,
        {
            "second": keras.layers.Dense(3, name="second")(hidden),
            "first": keras.layers.Dense(1, name="first")(hidden),
        },
    )


@pytest.mark.parametrize("kind", ["tf.data", "torch"])
def test_several_inputs_and_outputs(tmp_path, kind):
    """Neither the structures nor the order of their names get lost."""
    inputs = {"a": X[:, :2] + 1, "b": X}
    teacher = two_headed(9)
    cache = build(teacher, inputs, tmp_path)
    if kind == "tf.data":
        slices = tf.data.Dataset.from_tensor_slices((inputs,))
        data = {"x": slices.shuffle(N, seed=1).batch(BATCH)}
    else:
        each = [({"b": b, "a": a},) for a, b in zip(*inputs.values(), strict=True)]
        data = {"x": torch.utils.data.DataLoader(each, BATCH, True)}
    distiller = watched(cache, two_headed(5))
    distiller.fit(**data, verbose=0)
    rows = 0
    for x, _, _, logits in distiller.seen:
        want = teacher.predict(x, batch_size=len(x["a"]), verbose=0)
        assert logits.keys() == want.keys()
        for name, values in logits.items():
            np.testing.assert_allclose(values, want[name], rtol=0, atol=1e-6)
        rows += len(x["a"])
    assert rows == N
