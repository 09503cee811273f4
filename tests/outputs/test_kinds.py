"""What the kinds of output say, against SciPy, on arrays and on tensors."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import expit, rel_entr, softmax

from keras_kd.outputs import (
    KINDS,
    bernoulli,
    categorical,
    class_logits,
    class_margin,
    continuous,
    decided_class,
    kind_named,
    kind_of_classes,
)

LOGITS = arrays(np.float64, (2, 5, 4), elements=st.floats(-8, 8, width=32).map(float))
TEMPERATURES = st.sampled_from([0.5, 1.0, 4.0])


def probabilities_of_labels(z):
    p = expit(z)
    return np.stack([p, 1 - p], axis=-1)


@settings(max_examples=60, deadline=None)
@given(LOGITS, TEMPERATURES)
def test_divergences_are_scipys(logits, temperature):
    g, f = logits
    p, q = (softmax(z / temperature, axis=-1) for z in (g, f))
    np.testing.assert_allclose(
        categorical.divergence(g, f, temperature),
        rel_entr(p, q).sum(-1),
        rtol=1e-9,
        atol=1e-12,
    )
    p, q = (probabilities_of_labels(z / temperature) for z in (g, f))
    np.testing.assert_allclose(
        bernoulli.divergence(g, f, temperature),
        rel_entr(p, q).sum((-1, -2)),
        rtol=1e-9,
        atol=1e-12,
    )
    np.testing.assert_allclose(
        continuous.divergence(g, f, temperature), np.mean((g - f) ** 2, axis=-1)
    )


@settings(max_examples=30, deadline=None)
@given(LOGITS, TEMPERATURES)
def test_cross_entropy_is_divergence_and_entropy(logits, temperature):
    g, f = logits
    for kind in (categorical, bernoulli):
        entropy = kind.cross_entropy(g, g, temperature)
        np.testing.assert_allclose(
            kind.cross_entropy(g, f, temperature),
            kind.divergence(g, f, temperature) + entropy,
            rtol=1e-9,
            atol=1e-9,
        )


@pytest.mark.parametrize("name", KINDS)
def test_tensors_say_what_arrays_say(name):
    kind = kind_named(name)
    rng = np.random.default_rng(0)
    g, f = rng.normal(size=(2, 6, 3)).astype("float32")
    tensors = [keras.ops.convert_to_tensor(z) for z in (g, f)]
    numpy = keras.ops.convert_to_numpy
    pairs = [
        (kind.divergence(*tensors, 2.0), kind.divergence(g, f, 2.0)),
        (kind.cross_entropy(*tensors, 2.0), kind.cross_entropy(g, f, 2.0)),
        (kind.predicted(tensors[0], 2.0), kind.predicted(g, 2.0)),
        (kind.soft_targets(tensors[0], 2.0), kind.soft_targets(g, 2.0)),
        (kind.logit_targets(tensors[0], 2.0), kind.logit_targets(g, 2.0)),
    ]
    for of in ("logits", "probabilities"):
        stacked = keras.ops.stack(tensors)
        pairs.append((kind.mean(stacked, of), kind.mean(np.stack([g, f]), of)))
    if kind.DECIDES:
        pairs.append((kind.agreement(*tensors), kind.agreement(g, f)))
        pairs.append((kind.decision(tensors[0]), kind.decision(g)))
    for tensor, array in pairs:
        np.testing.assert_allclose(numpy(tensor), array, rtol=1e-5, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(LOGITS)
def test_one_unit_is_the_two_classes_0_and_z(logits):
    g, f = logits[..., :1]
    np.testing.assert_allclose(
        bernoulli.divergence(g, f, 2.0),
        categorical.divergence(class_logits(g), class_logits(f), 2.0),
        rtol=1e-8,
        atol=1e-12,
    )
    np.testing.assert_array_equal(
        decided_class(g), categorical.decision(class_logits(g))
    )
    assert kind_of_classes(1) is bernoulli
    assert kind_of_classes(2) is categorical


@settings(max_examples=40, deadline=None)
@given(LOGITS)
def test_the_mean_of_probabilities_has_their_mean(logits):
    np.testing.assert_allclose(
        softmax(categorical.mean(logits, "probabilities"), axis=-1),
        softmax(logits, axis=-1).mean(0),
        rtol=1e-9,
    )
    np.testing.assert_allclose(
        expit(bernoulli.mean(logits, "probabilities")),
        expit(logits).mean(0),
        rtol=1e-9,
    )
    for kind in (categorical, bernoulli, continuous):
        np.testing.assert_allclose(kind.mean(logits), logits.mean(0), atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(LOGITS, st.integers(0, 3))
def test_margins_are_positive_where_the_label_is_decided_for(logits, label):
    z, _ = logits
    labels = np.full(len(z), label)
    margin = class_margin(z, labels)
    assert np.all((margin > 0) <= (decided_class(z) == labels))
    assert np.all((margin < 0) <= (decided_class(z) != labels))
    there = z > 0
    assert np.all(bernoulli.margin(z, there.astype(int)) >= 0)
    other = ~there
    assert np.all(bernoulli.margin(z, other.astype(int)) <= 0)
    # A label by itself: another one's has no say.
    other[:, 1:] = there[:, 1:]
    np.testing.assert_array_equal(
        bernoulli.margin(z, other) * [-1, 1, 1, 1][: z.shape[1]],
        bernoulli.margin(z, there),
    )


def test_soft_targets_are_centred():
    z = np.random.default_rng(0).normal(size=(7, 3))
    np.testing.assert_allclose(categorical.soft_targets(z, 2.0).sum(-1), 0, atol=1e-12)
    np.testing.assert_allclose(bernoulli.soft_targets(z, 2.0) + 0.5, expit(z / 2))
    np.testing.assert_array_equal(continuous.soft_targets(z, 2.0), z)


def test_agreement():
    one = np.array([[2.0, -1.0, -3.0], [1.0, 4.0, 0.5]])
    other = np.array([[5.0, -1.0, 3.0], [3.0, 2.0, 0.5]])
    np.testing.assert_array_equal(categorical.agreement(one, other), [1, 0])
    np.testing.assert_allclose(bernoulli.agreement(one, other), [2 / 3, 1])


@pytest.mark.parametrize("what", ["decision", "agreement", "margin"])
def test_on_values_nothing_is_decided(what):
    values = np.zeros((2, 3))
    arguments = [values] if what == "decision" else [values, values]
    with pytest.raises(ValueError, match=f"there is no {what}.*continuous"):
        getattr(continuous, what)(*arguments)


@pytest.mark.wrong_input
def test_an_unknown_kind():
    with pytest.raises(ValueError, match=r"`output_kind` must be one of.*ordinal"):
        kind_named("ordinal")
