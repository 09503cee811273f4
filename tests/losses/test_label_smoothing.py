import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from loss_inputs import normal, properties, softmax, tables, value, weights

from keras_kd.losses import LabelSmoothingCrossentropy

LABELS = np.array([0, 3, 1, 1, 2, 2])


@properties
@given(tables(), weights(), st.sampled_from([0.0, 0.1, 0.9]), st.booleans())
def test_is_keras_on_one_hot_labels(outputs, weights, smoothing, from_logits):
    if not from_logits:
        outputs = softmax(outputs).astype("float32")
    oracle = keras.losses.CategoricalCrossentropy(from_logits, smoothing)
    loss = LabelSmoothingCrossentropy(smoothing, from_logits)
    expected = value(oracle(np.eye(4)[LABELS], outputs, weights))
    for labels in (LABELS, LABELS[:, None], LABELS.astype("float32")):
        actual = value(loss(labels, outputs, weights))
        assert actual == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_is_the_papers_formula():
    logits = normal(6, 4)
    smooth = 0.8 * np.eye(4)[LABELS] + 0.2 / 4
    expected = -np.mean(np.sum(smooth * np.log(softmax(logits)), axis=-1))
    loss = LabelSmoothingCrossentropy(0.2)(LABELS, logits)
    assert value(loss) == pytest.approx(expected, rel=1e-5)


def test_positions_of_a_sequence():
    logits = normal(6, 4)
    flat = LabelSmoothingCrossentropy(0.2)(LABELS, logits)
    loss = LabelSmoothingCrossentropy(0.2)(
        LABELS.reshape(2, 3), logits.reshape(2, 3, 4)
    )
    assert value(loss) == pytest.approx(value(flat), rel=1e-6)


def test_trains_a_model_on_sparse_labels():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)])
    model.compile("sgd", LabelSmoothingCrossentropy())
    x = normal(6, 3)
    history = model.fit(x, LABELS, epochs=1, batch_size=6, verbose=0, shuffle=False)
    assert np.isfinite(history.history["loss"][0])


@pytest.mark.wrong_input
@pytest.mark.parametrize(
    ("labels", "outputs", "message"),
    [
        (np.zeros((2, 1)), np.zeros((2, 1)), "needs one output per class"),
        (np.eye(3), np.zeros((3, 3)), "`y_true` must hold class indices"),
    ],
    ids=["one_unit", "one_hot"],
)
def test_refuses_other_labels_and_outputs(labels, outputs, message):
    with pytest.raises(ValueError, match=message):
        LabelSmoothingCrossentropy()(labels, outputs)


@pytest.mark.parametrize("wrong", [-1, 5, 77])
def test_a_label_that_is_no_class_is_nan(wrong):
    loss = LabelSmoothingCrossentropy(reduction=None)
    values = value(loss(np.array([0, wrong, 4], "int32"), normal(3, 5)))
    assert np.isnan(values).tolist() == [False, True, False]
