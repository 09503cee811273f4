"""What a caller gives: arguments, inputs of every kind, and messages on mistakes."""

import keras
import ml_dtypes
import numpy as np
import pytest
from jacobian_oracle import jacobian, kernel
from keras import layers
from ntk_models import BACKEND, build, inputs_for, take
from ntk_small import error, numbers, small

from keras_kd.ntk import (
    NTKOperator,
    empirical_ntk,
    ntk_diagonal,
    ntk_features,
    ntk_similarity,
)

# --- arguments -----------------------------------------------------------------------


@pytest.mark.wrong_input
@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"outputs": "sum"}, "`outputs`"),
        ({"outputs": 3}, "`outputs`"),
        ({"outputs": True}, "`outputs`"),
        ({"outputs": [1.0, 2.0]}, "`outputs`"),
        ({"outputs": [1.0, 2.0, np.nan]}, "`outputs`"),
        ({"batch_size": 0}, "`batch_size`"),
        ({"batch_size": 2.5}, "`batch_size`"),
        ({"implementation": "fast"}, "`implementation`"),
        ({"accumulate": "float16"}, "`accumulate`"),
        ({"variables": []}, "`variables`"),
        ({"variables": 3}, "`variables`"),
        ({"progress": "yes"}, "`progress`"),
        ({"out": np.zeros((2, 2), "float32")}, "`out`"),
        ({"out": np.zeros((6, 6), "int32")}, "`out`"),
    ],
)
def test_a_wrong_argument_is_one_clear_error(options, match):
    with pytest.raises(ValueError, match=match):
        empirical_ntk(small(), numbers(), **options)


@pytest.mark.wrong_input
@pytest.mark.parametrize(
    ("x1", "x2", "match"),
    [
        (np.zeros((0, 4), "float32"), None, "x1"),
        (np.full((2, 4), np.nan, "float32"), None, "x1"),
        (3.0, None, "x1"),
        (np.zeros((2, 4), "float32"), np.zeros((0, 4), "float32"), "x2"),
        (np.zeros((2, 4), "complex64"), None, "`x1` .*real.*complex64"),
        (np.full((2, 4), None), None, "`x1` .*real.*object"),
        (np.full((2, 4), np.nan, ml_dtypes.bfloat16), None, "`x1` must be finite"),
        ([[1.0, 2.0, 3.0, 4.0], [1.0]], None, "x1"),
        (np.zeros((2, 5), "float32"), None, r"`x1` .*takes.*\(2, 5\)"),
        (np.zeros((2, 4), "float32"), np.zeros((3, 5), "float32"), r"`x2` .*\(3, 5\)"),
        (np.zeros((2, 4), "float32"), np.zeros((3, 5, 4), "float32"), "`x2` .*takes"),
        (np.zeros((2, 4), "float32"), {"a": np.zeros((3, 4), "float32")}, "`x2`"),
    ],
)
def test_wrong_inputs_are_named(x1, x2, match):
    with pytest.raises(ValueError, match=match):
        empirical_ntk(small(), x1, x2)


@pytest.mark.wrong_input
def test_wrong_models_are_named():
    with pytest.raises(TypeError, match="`model`"):
        empirical_ntk(lambda x: x, numbers())
    with pytest.raises(ValueError, match="built"):
        empirical_ntk(keras.Sequential([layers.Dense(3)]), numbers())
    frozen = small()
    frozen.trainable = False
    with pytest.raises(ValueError, match="train"):
        empirical_ntk(frozen, numbers())
    other = small()
    with pytest.raises(ValueError, match="`variables`"):
        empirical_ntk(small(), numbers(), variables=other.trainable_variables)
    inputs = keras.Input((4,))
    several = {"first": layers.Dense(2)(inputs), "second": layers.Dense(3)(inputs)}
    with pytest.raises(ValueError, match=r"first.*second"):
        empirical_ntk(keras.Model(inputs, several), numbers())


def test_numbers_of_numpy_are_numbers():
    model, x = small(), numbers()
    expected = empirical_ntk(model, x, outputs=1, batch_size=2)
    found = empirical_ntk(model, x, outputs=np.int64(1), batch_size=np.int32(2))
    assert np.array_equal(found, expected)
    features = ntk_features(model, x, np.int64(4), np.uint8(3))
    assert np.array_equal(features, ntk_features(model, x, 4, 3))
    found = ntk_similarity(
        model, small(seed=1), x, outputs="full", probes=np.int64(3), seed=np.int64(5)
    )
    assert found == ntk_similarity(
        model, small(seed=1), x, outputs="full", probes=3, seed=5
    )


@pytest.mark.wrong_input
@pytest.mark.parametrize("seed", [-1, 1.5, "a", None])
def test_seeds_are_integers(seed):
    model, x = small(), numbers()
    with pytest.raises(ValueError, match="`seed`"):
        ntk_features(model, x, 4, seed)
    with pytest.raises(ValueError, match="`seed`"):
        ntk_similarity(model, model, x, seed=seed)


@pytest.mark.wrong_input
def test_complex_vectors_are_refused():
    with pytest.raises(ValueError, match=r"`v` .*complex"):
        NTKOperator(small(), numbers()) @ np.full(6, 1j)


@pytest.mark.wrong_input
def test_two_sides_of_different_outputs_are_refused():
    # As many outputs as positions.
    model = keras.Sequential(
        [keras.Input((None, 2)), layers.Conv1D(1, 1), layers.Flatten()]
    )
    left, right = np.ones((2, 4, 2), "float32"), np.ones((3, 5, 2), "float32")
    with pytest.raises(ValueError, match=r"`x1` and `x2` .* 4 and 5"):
        empirical_ntk(model, left, right)
    assert empirical_ntk(model, left, right[:, :4]).shape == (2, 3)


def steep():
    """A linear model whose kernel is too large for float32, not for float64."""
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(4), layers.Dense(3, name="logits")]
    )
    model.get_layer("logits").kernel.assign(np.full((4, 3), 1e18, "float32"))
    return model


@pytest.mark.wrong_input
def test_a_kernel_that_overflows_is_refused():
    model, x = steep(), 1e3 * numbers()
    for ask in (
        empirical_ntk,
        ntk_diagonal,
        lambda model, x: empirical_ntk(model, x, x[:2]),
        lambda model, x: NTKOperator(model, x, accumulate="float32") @ np.ones(6),
    ):
        with (
            np.errstate(all="ignore"),
            pytest.raises(OverflowError, match=r"finite.*beyond 3.4e\+38.*float64"),
        ):
            ask(model, x)
    expected = kernel(jacobian(model, x).astype("float64"))
    assert error(empirical_ntk(model, x, accumulate="float64"), expected) < 1e-5


@pytest.mark.wrong_input
@pytest.mark.parametrize("outputs", ["trace", "full"])
def test_a_zero_kernel_has_no_angle(outputs):
    zero = small()
    zero.get_layer("logits").kernel.assign(np.zeros((5, 3)))
    zero.get_layer("logits").trainable = False
    for models, name in (((zero, small()), "model_a"), ((small(), zero), "model_b")):
        with pytest.raises(ValueError, match=f"zeros from `{name}`"):
            ntk_similarity(*models, numbers(), outputs=outputs)


@pytest.mark.wrong_input
def test_pseudo_is_refused_for_probabilities():
    with pytest.raises(ValueError, match="pseudo"):
        empirical_ntk(small(activation="softmax"), numbers(), outputs="pseudo")


@pytest.mark.wrong_input
def test_an_output_that_is_not_finite_is_refused():
    model = small()
    model.layers[-1].bias.assign([np.inf, 0, 0])
    with pytest.raises(ValueError, match="finite"):
        empirical_ntk(model, numbers())


# --- inputs --------------------------------------------------------------------------


class Batches(keras.utils.PyDataset):
    def __init__(self, x, labels):
        super().__init__()
        self.x, self.labels = x, labels

    def __len__(self):
        return 3

    def __getitem__(self, i):
        x = self.x[2 * i : 2 * i + 2]
        return (x, np.zeros(len(x))) if self.labels else x


@pytest.mark.parametrize("labels", [False, True])
def test_data_sets(labels):
    model, x = small(), numbers(5)
    expected = empirical_ntk(model, x)
    np.testing.assert_allclose(
        empirical_ntk(model, Batches(x, labels)), expected, rtol=1e-5
    )
    batches = [(x[:3], np.zeros(3)), (x[3:], np.zeros(2))]
    np.testing.assert_allclose(empirical_ntk(model, iter(batches)), expected, rtol=1e-5)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="tf.data is TensorFlow's.")
def test_tf_data():
    import tensorflow as tf

    model, x = small(), numbers(5)
    dataset = tf.data.Dataset.from_tensor_slices((x, np.zeros(5))).batch(2)
    np.testing.assert_allclose(
        empirical_ntk(model, dataset), empirical_ntk(model, x), rtol=1e-5
    )


@pytest.mark.skipif(BACKEND != "torch", reason="DataLoader is PyTorch's.")
def test_data_loader():
    import torch

    model, x = small(), numbers(5)
    dataset = torch.utils.data.TensorDataset(torch.from_numpy(x), torch.zeros(5))
    loader = torch.utils.data.DataLoader(dataset, batch_size=2)
    np.testing.assert_allclose(
        empirical_ntk(model, loader), empirical_ntk(model, x), rtol=1e-5
    )


def test_a_dict_of_two_blocks():
    model, spec = build("dict_inputs", "float32")
    x = inputs_for(spec, 5, dtype="float32")
    whole = empirical_ntk(model, x)
    block = empirical_ntk(model, take(x, slice(2)), take(x, slice(2, None)))
    np.testing.assert_allclose(block, whole[:2, 2:], rtol=1e-4, atol=1e-5)


def test_one_example():
    model, x = small(), numbers(1)
    assert error(empirical_ntk(model, x), kernel(jacobian(model, x))) < 1e-6


def test_tensors_are_inputs_too():
    model, x = small(), numbers()
    expected = empirical_ntk(model, x)
    found = empirical_ntk(model, keras.ops.convert_to_tensor(x))
    np.testing.assert_array_equal(found, expected)
