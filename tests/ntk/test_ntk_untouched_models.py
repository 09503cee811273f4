"""Models: as before, measured again, in threads, and let go."""

import subprocess
import sys
import threading
import traceback

import keras
import numpy as np
import pytest
from jacobian_oracle import jacobian, kernel
from keras import layers
from ntk_models import BACKEND, build, disturb, inputs_for
from ntk_small import error, numbers, small

from keras_kd.ntk import (
    empirical_ntk,
)


def state_of(model):
    return [np.array(keras.ops.convert_to_numpy(v)) for v in model.variables]


def test_the_model_is_as_before():
    model, spec = build("residual", "float32")
    x = inputs_for(spec, 3, dtype="float32")
    before, attributes = state_of(model), [set(m.__dict__) for m in model.layers]
    trainable = [v.trainable for v in model.variables]
    outputs = model(x)
    empirical_ntk(model, x)
    with pytest.raises(ValueError, match="`outputs`"):
        empirical_ntk(model, x, outputs=17)
    assert all(map(np.array_equal, before, state_of(model)))
    assert attributes == [set(layer.__dict__) for layer in model.layers]
    assert trainable == [v.trainable for v in model.variables]
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(outputs), keras.ops.convert_to_numpy(model(x))
    )


def test_the_model_is_as_before_when_its_layers_raise():
    class Fails(layers.Layer):
        broken = False

        def call(self, x):
            if self.broken:
                raise RuntimeError("on purpose")
            return x

    fails = Fails()
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3), fails])
    fails.broken = True
    with pytest.raises(RuntimeError, match="on purpose"):
        empirical_ntk(model, numbers())
    assert all("call" not in layer.__dict__ for layer in model.layers)
    fails.broken = False
    assert (
        error(empirical_ntk(model, numbers()), kernel(jacobian(model, numbers())))
        < 1e-6
    )


def test_a_model_can_be_trained_saved_and_measured_again(tmp_path):
    model, x = small(), numbers()
    empirical_ntk(model, x)
    model.compile("sgd", "mse")
    model.fit(x, np.zeros((6, 3)), verbose=0)
    assert error(empirical_ntk(model, x), kernel(jacobian(model, x))) < 1e-6
    model.save(tmp_path / "model.keras")


def test_new_weights_count_and_are_not_traced_again():
    traces = []

    class Counts(layers.Layer):
        def call(self, x):
            traces.append(None)
            return 1 * x

    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(5, "tanh"), Counts(), layers.Dense(3)]
    )
    x = numbers()
    for seed in range(3):
        disturb(model, seed)
        first = len(traces)
        found = empirical_ntk(model, x)
        during = len(traces) - first
        if seed and BACKEND != "torch":
            assert during == 0
        assert error(found, kernel(jacobian(model, x))) < 1e-6


def test_frozen_after_the_first_call():
    model, x = small(), numbers()
    empirical_ntk(model, x)
    model.layers[0].trainable = False
    assert error(empirical_ntk(model, x), kernel(jacobian(model, x))) < 1e-6
    model.layers[0].trainable = True
    assert error(empirical_ntk(model, x), kernel(jacobian(model, x))) < 1e-6


# In a process of its own: beside a thousand other tests in one TensorFlow process,
# a model was held for good in one run of five, by what is not known.
NOT_KEPT = """if True:
    import gc, weakref
    import keras
    import numpy as np
    from keras import layers
    from keras_kd.ntk import empirical_ntk

    references = []
    for implementation in ("auto", "jacobian"):
        model = keras.Sequential(
            [keras.Input((4,)), layers.Dense(5, "tanh"), layers.Dense(3)]
        )
        x = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
        empirical_ntk(model, x, implementation=implementation)
        references.append(weakref.ref(model))
    del model
    keras.backend.clear_session()
    gc.collect()
    assert [reference() for reference in references] == [None, None]
    """


def test_models_are_not_kept():
    subprocess.run([sys.executable, "-c", NOT_KEPT], check=True)


def test_two_threads_on_two_models():
    models = [small(units, seed) for units, seed in ((5, 1), (7, 2))]
    x = numbers()
    expected = [kernel(jacobian(model, x)) for model in models]
    found = [[], []]

    def work(i):
        for _ in range(3):
            found[i].append(empirical_ntk(models[i], x))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i in range(2):
        assert len(found[i]) == 3
        assert all(error(one, expected[i]) < 1e-6 for one in found[i])


class Together(layers.Layer):
    """Lets no thread go on alone, where each calls it and none has compiled it."""

    barrier = None

    def call(self, x):
        if self.barrier is not None:
            try:
                self.barrier.wait(timeout=0.3)
            except threading.BrokenBarrierError:
                self.barrier.reset()
        return x


def test_threads_on_one_model():
    together, x = Together(), numbers()
    model = keras.Sequential([*small().layers, together])
    model.build(x.shape)
    expected, found, errors = kernel(jacobian(model, x)), [], []

    def work():
        try:
            found.append(empirical_ntk(model, x))
        except Exception:
            errors.append(traceback.format_exc())

    together.barrier = threading.Barrier(2)
    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors[0]
    assert all(error(one, expected) < 1e-6 for one in found)
