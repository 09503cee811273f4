"""The bound from kernels and outputs: its terms against explicit feature spaces."""

import math

import keras
import numpy as np
import pytest
from scipy.stats import binom

from keras_kd.complexity import (
    FeatureFactorization,
    KernelFactorization,
    supervision_complexity,
)
from keras_kd.complexity.bound import distillation_bound
from keras_kd.complexity.solvers.solver import solver_of
from keras_kd.ntk import NTKOperator, empirical_ntk

N, K, P = 40, 3, 200
DECLARED = {
    "kernel_independent": True,
    "teacher_independent": True,
    "labels_held_out": True,
}


class Problem:
    """A Jacobian `(n, k, p)`: every form of its kernel has explicit features."""

    def __init__(self, outputs=K, seed=0):
        rng = np.random.default_rng(seed)
        self.jacobian = rng.normal(size=(N, outputs, P))
        self.teacher = rng.normal(size=(N, outputs)) * 2
        self.student = self.teacher + rng.normal(size=(N, outputs)) * 0.5
        self.initial = rng.normal(size=(N, outputs)) * 0.3
        self.labels = rng.integers(max(outputs, 2), size=N)

    def kernel(self, form):
        full = np.einsum("icp,jdp->ijcd", self.jacobian, self.jacobian)
        if form == "full":
            return full
        per_output = np.einsum("ijcc->ijc", full)
        return per_output if form == "per_output" else per_output[..., 0]

    def features(self, form):
        """The design matrix `(n k, dim)` that the form of the kernel stands for."""
        n, k, p = self.jacobian.shape
        if form == "full":
            return self.jacobian.reshape(n * k, p)
        design = np.zeros((n, k, k, p))
        for c in range(k):
            design[:, c, c] = self.jacobian[:, c if form == "per_output" else 0]
        return design.reshape(n * k, k * p)

    def expected(self, form, targets, ridge):
        """Values, norm and traces by an explicit fit of the weights."""
        n, k, _ = self.jacobian.shape
        design = self.features(form)
        traces = np.square(design).sum(1).reshape(n, k).sum(0)
        # min |w|^2 + |e|^2 so that D w + sqrt(ridge) e = y: least norm at ridge 0.
        wide = np.concatenate([design, math.sqrt(ridge) * np.eye(n * k)], axis=1)
        solution = np.linalg.lstsq(wide, targets.reshape(-1), rcond=None)[0]
        weights = solution[: design.shape[1]]
        return (design @ weights).reshape(n, k), np.linalg.norm(weights), traces


def margins_by_sorting(values, teacher):
    result = []
    for row, target in zip(values, teacher, strict=True):
        if len(row) == 1:
            result.append(row[0] if target[0] > 0 else -row[0])
            continue
        label = int(np.argmax(target))
        result.append(row[label] - sorted(np.delete(row, label))[-1])
    return np.array(result)


@pytest.mark.parametrize("outputs", [1, K])
@pytest.mark.parametrize("form", ["shared", "per_output", "full"])
@pytest.mark.parametrize("case", ["teacher", "student", "shifted", "ridge"])
def test_every_term_against_an_explicit_feature_space(outputs, form, case):
    problem = Problem(outputs)
    ridge = 20.0 if case == "ridge" else 0.0
    student = None if case == "teacher" else problem.student
    initial = problem.initial if case == "shifted" else 0.0
    fitted = problem.teacher if student is None else student
    bound = distillation_bound(
        problem.kernel(form),
        problem.teacher,
        student,
        problem.labels,
        delta=0.1,
        ridge=ridge,
        initial_outputs=problem.initial if case == "shifted" else None,
        **DECLARED,
    )

    values, norm, traces = problem.expected(form, fitted - initial, ridge)
    margins = margins_by_sorting(values + initial, problem.teacher)
    assert bound.radius == pytest.approx(norm, rel=1e-8)
    ramps = [min(1.0, max(0.0, 1 - u / bound.gamma)) for u in margins]
    assert bound.margin == pytest.approx(sum(ramps) / N, abs=1e-9)
    constant = 2 if outputs == 1 else 4
    assert bound.complexity == pytest.approx(
        constant * bound.r * math.sqrt(traces.sum()) / N, rel=1e-9
    )
    if outputs > 1:
        by_output = 4 * bound.r * sum(math.sqrt(trace) for trace in traces) / N
        assert bound.complexity_forms["factor_2k"] >= by_output * (1 - 1e-12)
    j = round(math.log2(bound.r))
    assert bound.r == 2.0**j
    assert bound.r * bound.gamma >= bound.radius * (1 - 1e-12)
    delta_j = 0.1 / (3 * (1 + abs(j)) ** 2)
    if case == "shifted":
        i = round(4 * math.log2(bound.gamma))
        assert bound.gamma == pytest.approx(2 ** (i / 4))
        delta_j /= 3 * (1 + abs(i)) ** 2
    assert bound.delta_j == pytest.approx(delta_j)
    assert bound.confidence == pytest.approx(
        3 * math.sqrt(math.log(2 / delta_j) / (2 * N))
    )
    teacher = problem.teacher
    decided = teacher[:, 0] > 0 if outputs == 1 else teacher.argmax(1)
    errors = int(np.sum(decided != problem.labels))
    assert bound.teacher_error == errors / N
    risk = bound.teacher_error + bound.teacher_confidence
    share = 1 - sum(1 / (3 * (1 + abs(j)) ** 2) for j in range(-20_000, 20_001))
    assert binom.cdf(errors, N, risk) == pytest.approx(0.1 * share, rel=1e-3)
    assert bound.total == pytest.approx(sum(bound.terms.values()))
    assert list(bound.terms) == [
        "teacher_error",
        "teacher_confidence",
        "margin",
        "complexity",
        "confidence",
    ]
    assert bound.valid
    assert bound.vacuous
    assert bound.bounds == "error"


def test_the_shared_kernel_of_k_outputs_has_the_factor_2k():
    problem = Problem()
    kernel = problem.kernel("shared")
    bound = distillation_bound(kernel, problem.teacher)
    binary = 2 * bound.r * math.sqrt(np.trace(kernel)) / N
    forms = bound.complexity_forms
    assert forms["factor_2k"] == pytest.approx(2 * K * binary)
    assert forms["vector_contraction"] == pytest.approx(2 * math.sqrt(K) * binary)


def test_the_forms_of_one_kernel_agree():
    problem = Problem()
    shared = problem.kernel("shared")
    per_output = np.repeat(shared[..., None], K, axis=2)
    full = shared[..., None, None] * np.eye(K)
    results = [
        distillation_bound(kernel, problem.teacher, ridge=2.0)
        for kernel in (shared, per_output, full)
    ]
    for other in results[1:]:
        assert other.total == pytest.approx(results[0].total)
        assert other.radius == pytest.approx(results[0].radius)


def test_the_radius_of_the_interpolant_is_its_supervision_complexity():
    problem = Problem()
    for form in ("shared", "per_output", "full"):
        kernel = problem.kernel(form)
        bound = distillation_bound(kernel, problem.teacher)
        complexity = supervision_complexity(kernel, problem.teacher)
        assert bound.radius == pytest.approx(float(complexity))
        assert (bound.ridge, bound.residual) == (0.0, complexity.residual)


def test_factorisations_and_features_stand_for_their_kernel():
    problem = Problem()
    phi = problem.jacobian[:, 0, :7]
    bound, *others = (
        distillation_bound(kernel, problem.teacher, ridge=ridge)
        for kernel, ridge in (
            (phi @ phi.T, 3.0),
            (KernelFactorization(phi @ phi.T, 3.0), 0.0),
            (FeatureFactorization(phi, 3.0), 0.0),
        )
    )
    weights = np.linalg.solve(phi.T @ phi + 3 * np.eye(7), phi.T @ problem.teacher)
    assert bound.radius == pytest.approx(np.linalg.norm(weights))
    for other in others:
        assert other.terms == pytest.approx(bound.terms)
        assert other.radius == pytest.approx(bound.radius)


@pytest.mark.parametrize("outputs", ["trace", "full"])
def test_an_operator_stands_for_its_kernel(outputs):
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)])
    x = np.random.default_rng(0).normal(size=(6, 8)).astype("float32")
    teacher = np.tanh(x[:, :2])
    bound, other = (
        distillation_bound(kernel, teacher, ridge=0.1)
        for kernel in (
            empirical_ntk(model, x, outputs=outputs, accumulate="float64"),
            NTKOperator(model, x, outputs=outputs),
        )
    )
    assert other.terms == pytest.approx(bound.terms, rel=1e-4)
    assert other.radius == pytest.approx(bound.radius, rel=1e-4)


def test_a_set_of_labels_shares_an_operator():
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)])
    x = np.random.default_rng(0).normal(size=(6, 8)).astype("float32")
    teacher = np.tanh(x[:, :2])
    bound, other = (
        distillation_bound(kernel, teacher, ridge=0.1, output_kind="bernoulli")
        for kernel in (
            empirical_ntk(model, x, accumulate="float64"),
            NTKOperator(model, x),
        )
    )
    assert other.terms == pytest.approx(bound.terms, rel=1e-4)
    full = NTKOperator(model, x, outputs="full")
    with pytest.raises(ValueError, match=r"Received: a full kernel"):
        distillation_bound(full, teacher, ridge=0.1, output_kind="bernoulli")
    with pytest.raises(TypeError, match=r"Received: the full kernel of 2 outputs"):
        _ = solver_of(full, 0.1).traces


def test_without_labels_it_bounds_the_disagreement():
    problem = Problem()
    args = problem.kernel("shared"), problem.teacher
    bound = distillation_bound(*args, kernel_independent=True, teacher_independent=True)
    assert bound.bounds == "disagreement"
    assert list(bound.terms) == ["margin", "complexity", "confidence"]
    assert bound.teacher_error is None
    assert bound.teacher_confidence is None
    assert bound.valid
    labelled = distillation_bound(*args, labels=problem.labels)
    rest = labelled.total - labelled.teacher_error - labelled.teacher_confidence
    assert rest == pytest.approx(bound.total)


@pytest.mark.parametrize("missing", DECLARED)
def test_what_is_not_declared_makes_it_a_diagnostic(missing):
    problem = Problem()
    declared = {**DECLARED, missing: False}
    args = problem.kernel("shared"), problem.teacher, None, problem.labels
    bound = distillation_bound(*args, **declared)
    assert not bound.valid
    (reason,) = bound.reasons
    assert f"{missing}=True" in reason
    assert distillation_bound(*args, **DECLARED).valid
    assert len(distillation_bound(*args).reasons) == 3


def test_units_of_the_outputs_do_not_matter():
    problem = Problem()
    kernel = problem.kernel("shared")
    one = distillation_bound(kernel, problem.teacher)
    other = distillation_bound(kernel, problem.teacher / 7)
    assert other.total == pytest.approx(one.total)
    assert other.gamma == pytest.approx(one.gamma / 7)
    assert other.radius == pytest.approx(one.radius / 7)


def test_a_large_sample_is_not_vacuous():
    rng = np.random.default_rng(0)
    x = rng.choice([-1.0, 1.0], size=2000)
    bound = distillation_bound(np.outer(x, x), x, labels=x > 0, ridge=1e-6, **DECLARED)
    assert bound.valid
    assert not bound.vacuous
    assert bound.total < 0.25


def test_one_output_may_be_a_vector():
    problem = Problem(1)
    kernel = problem.kernel("shared")
    column = distillation_bound(kernel, problem.teacher, problem.student)
    vector = distillation_bound(kernel, problem.teacher[:, 0], problem.student[:, 0])
    assert vector == column


NAN = np.full((N, K), np.nan)
KERNEL = Problem().kernel("shared")
ERRORS = [
    ({"delta": 0.0}, "`delta` must be"),
    ({"delta": 1.0}, "`delta` must be"),
    ({"delta": float("nan")}, "`delta` must be"),
    ({"delta": "0.05"}, "`delta` must be"),
    ({"ridge": -1.0}, "`ridge` must be"),
    ({"ridge": float("inf")}, "`ridge` must be"),
    ({"ill_conditioned": "ignore"}, "`ill_conditioned` must be"),
    ({"kernel": 1.0}, "`kernel` must be of the examples"),
    ({"kernel": np.ones(N)}, r"`kernel` must be of shape \(n, n\)"),
    ({"kernel": KERNEL[:, :-1]}, r"`kernel` must be of shape \(n, n\)"),
    ({"kernel": KERNEL[:-1, :-1]}, "`kernel` must be of the examples"),
    ({"kernel": KernelFactorization(np.eye(2))}, "`kernel` must be of the examples"),
    ({"kernel": np.zeros((N, N, 2))}, "`kernel` must be of the examples and outputs"),
    ({"kernel": np.zeros((N, N, K, 1))}, "`kernel` must be of shape"),
    ({"kernel": np.triu(KERNEL)}, "`kernel` must be symmetric"),
    ({"kernel": np.ones((N, N))}, "eigenvalue of `kernel`"),
    ({"kernel": -KERNEL}, "`kernel` must have a positive trace"),
    ({"kernel": np.full((N, N), np.inf)}, "`kernel` must be finite"),
    ({"teacher_outputs": NAN}, "`teacher_outputs` must be finite"),
    ({"teacher_outputs": np.zeros((N, K, 1))}, "`teacher_outputs` must be of shape"),
    ({"teacher_outputs": np.zeros((0, K))}, "`teacher_outputs` must be of shape"),
    ({"student_outputs": NAN}, "`student_outputs` must be finite"),
    ({"student_outputs": np.zeros((N, 2))}, "`student_outputs` must be of shape"),
    ({"initial_outputs": NAN}, "`initial_outputs` must be finite"),
    ({"initial_outputs": np.zeros(N)}, "`initial_outputs` must be of shape"),
    ({"labels": np.zeros((N, K), int)}, "`labels` must be of shape"),
    ({"labels": np.zeros(N - 1, int)}, "`labels` must be of shape"),
    ({"labels": np.full(N, K)}, "`labels` must be integers from 0 to 2"),
    ({"labels": np.full(N, 0.5)}, "`labels` must be integers from 0 to 2"),
]


@pytest.mark.wrong_input
@pytest.mark.parametrize(("change", "message"), ERRORS)
def test_errors_name_the_argument(change, message):
    arguments = {"kernel": KERNEL, "teacher_outputs": Problem().teacher, **change}
    with pytest.raises(ValueError, match=message) as error:
        distillation_bound(**arguments)
    assert "Received: " in str(error.value)
