"""The bound on the share of labels that are wrong, beside bounds of one output."""

import math
import re

import numpy as np
import pytest
from scipy.stats import binom
from sklearn.metrics import hamming_loss

from keras_kd.complexity import (
    FeatureFactorization,
    KernelFactorization,
    bound_terms,
    distillation_bound,
)
from keras_kd.complexity.margin_bound import TEACHER_SHARE, label_bound_terms

pytestmark = pytest.mark.once

N, K, DELTA = 50, 3, 0.1


def problem(seed=0):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(N, 80, K))
    teacher = rng.normal(size=(N, K)) * [0.5, 2.0, 5.0]
    labels = (rng.random((N, K)) < 0.4).astype(int)
    return features, teacher, labels


def kernels(form, features):
    if form == "shared":
        return features[..., 0] @ features[..., 0].T
    return np.einsum("ipc,jpc->ijc", features, features)


@pytest.mark.parametrize("form", ["shared", "per_output"])
@pytest.mark.parametrize("case", ["plain", "ridge", "student", "shifted"])
def test_every_label_is_a_bound_of_one_output(form, case):
    features, teacher, labels = problem()
    kernel = kernels(form, features)
    options = {"ridge": 7.0} if case == "ridge" else {}
    arrays = {}
    if case in ("student", "shifted"):
        arrays["student_outputs"] = teacher + 0.3
    if case == "shifted":
        arrays["initial_outputs"] = np.random.default_rng(5).normal(size=(N, K))
    bound = distillation_bound(
        kernel,
        teacher,
        labels=labels,
        delta=DELTA,
        output_kind="bernoulli",
        **arrays,
        **options,
    )
    alone = [
        distillation_bound(
            kernel if form == "shared" else kernel[..., c],
            teacher[:, c],
            labels=labels[:, c],
            delta=DELTA / K,
            **{name: array[:, c] for name, array in arrays.items()},
            **options,
        )
        for c in range(K)
    ]
    for name, value in bound.terms.items():
        assert value == pytest.approx(np.mean([one.terms[name] for one in alone]))
    assert bound.total == pytest.approx(np.mean([one.total for one in alone]))
    assert bound.teacher_error == pytest.approx(hamming_loss(labels, teacher > 0))
    assert bound.radius == pytest.approx(math.hypot(*(one.radius for one in alone)))
    assert (bound.delta, bound.n, bound.bounds) == (DELTA, N, "error")
    assert bound.gamma is bound.r is bound.delta_j is None
    for one, other in zip(bound.labels, alone, strict=True):
        assert one.terms == pytest.approx(other.terms)
        assert one.gamma == pytest.approx(other.gamma)
        assert one.radius == pytest.approx(other.radius)
        assert one.reasons == other.reasons == bound.reasons


def test_the_terms_from_an_explicit_fit():
    features, teacher, labels = problem(1)
    phi, ridge = features[..., 0], 3.0
    bound = distillation_bound(
        phi @ phi.T,
        teacher,
        labels=labels,
        delta=DELTA,
        ridge=ridge,
        output_kind="bernoulli",
    )
    weights = np.linalg.solve(phi.T @ phi + ridge * np.eye(80), phi.T @ teacher)
    signed = np.where(teacher > 0, 1, -1) * (phi @ weights)
    margin, complexity, confidence, risk = [], [], [], []
    for c, one in enumerate(bound.labels):
        assert one.radius == pytest.approx(np.linalg.norm(weights[:, c]))
        margin.append(np.mean(np.clip(1 - signed[:, c] / one.gamma, 0, 1)))
        complexity.append(2 * one.r * math.sqrt(np.sum(phi**2)) / N)
        j = math.log2(one.r)
        share = DELTA / K / (3 * (1 + abs(j)) ** 2)
        confidence.append(3 * math.sqrt(math.log(2 / share) / (2 * N)))
        errors = int(np.sum((teacher[:, c] > 0) != labels[:, c]))
        upper = one.teacher_error + one.teacher_confidence
        assert binom.cdf(errors, N, upper) == pytest.approx(TEACHER_SHARE * DELTA / K)
        risk.append(upper)
    assert bound.margin == pytest.approx(np.mean(margin))
    assert bound.complexity == pytest.approx(np.mean(complexity))
    assert bound.complexity_forms == {"binary": bound.complexity}
    assert bound.confidence == pytest.approx(np.mean(confidence))
    assert bound.teacher_error + bound.teacher_confidence == pytest.approx(
        np.mean(risk)
    )


def atoms(rng, n):
    """Labels on a few points, of which the kernel machine is known everywhere.

    They depend on each other: two of three are of one draw.
    """
    m, dim = int(rng.integers(5, 60)), int(rng.integers(2, 8))
    chances = rng.dirichlet(np.ones(m))
    counts = rng.multinomial(n, chances)
    features = rng.normal(size=(m, dim)) / math.sqrt(dim)
    teacher = features @ rng.normal(size=(dim, K))
    teacher += rng.normal(size=(m, K)) * rng.uniform(0, 0.5)
    noise = rng.uniform(0, 0.2, m)
    sample = np.repeat(np.arange(m), counts)
    flips = (rng.random((n, 2)) < noise[sample, None])[:, [0, 0, 1]]
    ridge = rng.uniform(1e-6, 1e-2) * n
    bound = distillation_bound(
        FeatureFactorization(features[sample], ridge),
        teacher[sample],
        labels=(teacher[sample] > 0) ^ flips,
        delta=DELTA,
        output_kind="bernoulli",
    )
    weighted = features * counts[:, None]
    system = features.T @ weighted + ridge * np.eye(dim)
    outputs = features @ np.linalg.solve(system, weighted.T @ teacher)
    disagrees = (outputs > 0) != (teacher > 0)
    wrong = np.where(disagrees, 1 - noise[:, None], noise[:, None]).mean(axis=1)
    return bound, float(chances @ wrong)


def test_the_share_of_wrong_labels_is_below_the_bound():
    rng = np.random.default_rng(0)
    results = [atoms(rng, n) for n in [300] * 60 + [20_000] * 40]
    assert np.mean([risk > bound.total for bound, risk in results]) <= DELTA
    large = [(bound, risk) for bound, risk in results if bound.n == 20_000]
    assert np.mean([bound.vacuous for bound, _ in large]) < 0.1
    # The test can fail: without its margin term it would.
    assert np.mean([risk > b.total - b.margin for b, risk in large]) > DELTA


def test_one_label_is_a_bound_of_one_output():
    features, teacher, labels = problem()
    kernel = kernels("shared", features)
    for y in (labels[:, 0], labels[:, [0]]):
        assert distillation_bound(
            kernel, teacher[:, 0], labels=y, output_kind="bernoulli"
        ) == distillation_bound(kernel, teacher[:, 0], labels=labels[:, 0])


def test_one_hot_labels_are_classes():
    features, teacher, _ = problem()
    y = np.random.default_rng(2).integers(0, K, N)
    kernel = kernels("shared", features)
    expected = distillation_bound(kernel, teacher, labels=y)
    for kind in (None, "categorical"):
        assert expected == distillation_bound(
            kernel, teacher, labels=np.eye(K)[y], output_kind=kind
        )
    # As a set of labels they are something else.
    assert (
        expected.teacher_error
        != distillation_bound(
            kernel, teacher, labels=np.eye(K)[y], output_kind="bernoulli"
        ).teacher_error
    )


def test_traces_by_output():
    features, _, _ = problem()
    per_output = kernels("per_output", features)
    full = np.einsum("ipc,jpd->ijcd", features, features)
    expected = np.einsum("iic->c", per_output)
    for kernel in (per_output, full):
        np.testing.assert_allclose(KernelFactorization(kernel, 1).traces, expected)
    shared = kernels("shared", features)
    for solver in (
        KernelFactorization(shared),
        FeatureFactorization(features[..., 0], 1.0),
    ):
        np.testing.assert_allclose(solver.traces, [np.trace(shared)])


def test_the_parts_of_delta_are_those_of_one_output():
    margins = np.random.default_rng(0).uniform(0.5, 1, (2000, 4))
    bound = label_bound_terms(margins, [1, 2, 3, 4], [500.0], delta=0.2)
    for c, one in enumerate(bound.labels):
        assert one == bound_terms(margins[:, c], c + 1, 500.0, delta=0.05)
    assert bound.delta == 0.2


FEATURES, TEACHER, LABELS = problem()
KERNEL = kernels("shared", FEATURES)
FULL = np.einsum("ipc,jpd->ijcd", FEATURES, FEATURES)


@pytest.mark.wrong_input
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": LABELS[:, 0]}, "`labels` must be zeros and ones of shape (50, 3)"),
        ({"labels": LABELS + 1}, "Received: labels=[1 2]"),
        ({"labels": LABELS * 0.5}, "Received: labels=[0.  0.5]"),
        ({"labels": LABELS[:, :2]}, "Received: shape (50, 2)"),
        ({"kernel": FULL}, "`kernel` must be (n, n), shared by all labels, or (n, n"),
        ({"kernel": KernelFactorization(FULL, 1.0)}, "Received: a full kernel."),
        ({"output_kind": "continuous"}, "by values nothing is decided. Received: out"),
        ({"output_kind": "labels"}, "`output_kind` must be one of"),
        (
            {"teacher_outputs": TEACHER[:, 0], "output_kind": "categorical"},
            "needs an output for each class. Received: 1 output.",
        ),
    ],
)
def test_mistakes(change, message):
    arguments = {
        "kernel": KERNEL,
        "teacher_outputs": TEACHER,
        "labels": LABELS,
        "output_kind": "bernoulli",
    } | change
    with pytest.raises(ValueError, match=re.escape(message)):
        distillation_bound(**arguments)
