"""The bound where the risk is known, and its terms where they can be computed."""

import math

import numpy as np
import pytest
from scipy.stats import binom

from keras_kd.complexity import FeatureFactorization
from keras_kd.complexity.bound import distillation_bound
from keras_kd.complexity.margin_bound import TEACHER_SHARE, bound_terms, ramp

pytestmark = pytest.mark.once

DELTA = 0.1


def margins_of(outputs, labels):
    if outputs.shape[1] == 1:
        return np.where(labels == 1, 1, -1) * outputs[:, 0]
    own = labels[:, None] == np.arange(outputs.shape[1])
    return outputs[own] - np.where(own, -np.inf, outputs).max(1)


def unseen_points(rng, n):
    """A share `p` of points seen once at most, of which no sample tells anything.

    Common points share one feature; every other one has a feature of its own, of
    squared length `s`. The function of least norm is 0 at those not in the sample: its
    risk is `p`, whereas in the sample all margins are 1.
    """
    p, s = rng.uniform(0.12, 0.35), rng.uniform(30, 300)
    rare = int(rng.binomial(n, p))
    radius = math.sqrt((rare < n) + rare / s)
    trace = (n - rare) + rare * s
    noise = rng.uniform(0, 0.1)
    wrong = rng.random(n) < noise
    bound = bound_terms(np.ones(n), radius, trace, teacher_wrong=wrong, delta=DELTA)
    return bound, p + (1 - p) * noise


def atoms(rng, n):
    """A distribution on a few points, whose kernel machine is known everywhere.

    Its weights are those of a ridge regression with the points' counts, so that its
    values, and its risk, need no kernel.
    """
    m, dim, k = (
        int(rng.integers(5, 80)),
        int(rng.integers(2, 8)),
        int(rng.choice([1, 3])),
    )
    chances = rng.dirichlet(np.ones(m))
    counts = rng.multinomial(n, chances)
    features = rng.normal(size=(m, dim)) / math.sqrt(dim)
    teacher = features @ rng.normal(size=(dim, k))
    teacher += rng.normal(size=(m, k)) * rng.uniform(0, 0.5)
    offset = rng.random() < 0.5
    initial = rng.normal(size=(m, k)) * 0.3 * offset
    decided = teacher.argmax(1) if k > 1 else (teacher[:, 0] > 0).astype(int)
    noise = rng.uniform(0, 0.2, m)

    sample = np.repeat(np.arange(m), counts)
    # The next class instead, where the teacher is wrong.
    wrong = rng.random(n) < noise[sample]
    labels = (decided[sample] + wrong) % max(k, 2)
    ridge = rng.uniform(1e-6, 1e-2) * n
    bound = distillation_bound(
        FeatureFactorization(features[sample], ridge),
        teacher[sample],
        labels=labels,
        initial_outputs=initial[sample],
        delta=DELTA,
    )
    weighted = features * counts[:, None]
    system = features.T @ weighted + ridge * np.eye(dim)
    outputs = initial + features @ np.linalg.solve(
        system, weighted.T @ (teacher - initial)
    )
    right = np.stack([decided, (decided + 1) % max(k, 2)])
    margins = [margins_of(outputs, labels) for labels in right]
    chance = np.stack([1 - noise, noise]) * chances
    return bound, float(np.sum(chance * (np.array(margins) <= 0)))


@pytest.mark.parametrize("problem", [unseen_points, atoms])
def test_the_risk_is_below_the_bound(problem):
    rng = np.random.default_rng(1)
    sizes = [300] * 150 + [3000] * 100 + [20_000] * 50 + [40_000] * 5
    results = [problem(rng, n) for n in sizes]
    violated = [risk > bound.total for bound, risk in results]
    assert np.mean(violated) <= DELTA
    large = [(b, risk) for b, risk in results if b.n >= 20_000]
    assert sum(not bound.vacuous for bound, _ in large) > 0.9 * len(large)
    # The test can fail: a quarter of the complexity would not do, nor would no margin.
    without = {unseen_points: ("complexity", 0.75), atoms: ("margin", 1.0)}
    name, share = without[problem]
    short = [risk > b.total - share * b.terms[name] for b, risk in large]
    assert np.mean(short) > DELTA


@pytest.mark.parametrize("risk", [0.004, 0.03, 0.2, 0.5, 0.99])
def test_the_teachers_risk_is_covered(risk):
    n, delta = 150, 0.3
    failing = 0.0
    for errors in range(n + 1):
        wrong = np.arange(n) < errors
        bound = bound_terms(np.ones(n), 1.0, n, teacher_wrong=wrong, delta=delta)
        upper = bound.teacher_error + bound.teacher_confidence
        assert upper <= 1 + 1e-12
        failing += binom.pmf(errors, n, risk) * (upper < risk)
    assert failing <= TEACHER_SHARE * delta


def test_the_parts_of_delta_sum_to_it():
    weights = 1 / (3 * (1.0 + np.abs(np.arange(-(10**6), 10**6 + 1))) ** 2)
    assert weights.sum() + TEACHER_SHARE == pytest.approx(1, abs=1e-6)
    assert weights.sum() ** 2 + TEACHER_SHARE < 1


@pytest.mark.parametrize("offset", [False, True])
@pytest.mark.parametrize("k", [1, 5])
def test_no_margin_gives_a_smaller_sum(offset, k):
    rng = np.random.default_rng(0)
    n, radius, trace = 1000, 3.0, 300.0
    margins = rng.normal(1.0, 0.8, size=n)
    bound = bound_terms(margins, radius, trace, outputs=k, delta=DELTA, offset=offset)
    constant = 2 if k == 1 else 4
    for i in range(-60, 60):
        gamma = 2 ** (i / 4)
        j = math.ceil(math.log2(radius / gamma))
        share = 3 * (1 + abs(j)) ** 2
        if offset:
            share *= 3 * (1 + abs(i)) ** 2
        total = (
            np.minimum(1, np.maximum(0, 1 - margins / gamma)).mean()
            + constant * 2.0**j * math.sqrt(k * trace) / n
            + 3 * math.sqrt(math.log(2 * share / DELTA) / (2 * n))
        )
        assert bound.total <= total + 1e-9


def test_a_small_radius_is_seen():
    bound = bound_terms(np.full(20_000, 3.0), 3.0, 20_000.0)
    assert (bound.gamma, bound.r, bound.margin) == (3.0, 1.0, 0.0)
    assert bound.complexity == pytest.approx(2 / math.sqrt(20_000))


def test_a_function_that_is_zero_has_a_bound_of_one_and_more():
    bound = bound_terms(np.zeros(10), 0.0, 1.0)
    assert bound.margin == 1
    assert bound.vacuous
    assert bound_terms(-np.ones(10), 0.0, 1.0, offset=True).margin == 1


def test_a_fixed_function_with_large_margins_needs_no_complexity():
    bound = bound_terms(np.ones(10_000), 0.0, 1.0, offset=True)
    assert bound.margin == 0
    assert bound.complexity < 1e-3
    assert bound.total < 0.1


def ball(rng, dim, count):
    points = rng.normal(size=(count, dim))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


@pytest.mark.parametrize("spread", [False, True])
def test_complexity_of_the_ball_against_monte_carlo(spread):
    rng = np.random.default_rng(0)
    n = 120
    features = rng.normal(size=(n, 400 if spread else 3))
    kernel = features @ features.T
    signs = rng.choice([-1.0, 1.0], size=(4000, n))
    norms = np.sqrt(np.einsum("si,ij,sj->s", signs, kernel, signs, optimize=True))
    bound = bound_terms(np.ones(n), 4.0, np.trace(kernel))
    ratio = 2 * bound.r * norms.mean() / n / bound.complexity
    assert ratio <= 1
    assert ratio >= (0.99 if spread else 0.85)


@pytest.mark.parametrize("k", [1, 2, 3, 6])
@pytest.mark.parametrize("offset", [False, True])
def test_complexity_of_the_ramps_against_monte_carlo(k, offset):
    """Of `ramp_gamma(u)` itself, with the supremum over functions tried one by one."""
    rng = np.random.default_rng(k)
    n, dim, gamma = 30, 2, 0.5
    features = rng.normal(size=(n, dim))
    labels = rng.integers(max(k, 2), size=n)
    weights = ball(rng, dim * k, 4000).reshape(-1, dim, k)
    outputs = np.einsum("id,fdk->fik", features, weights)
    outputs = outputs + rng.normal(size=(n, k)) * offset
    margins = np.stack([margins_of(values, labels) for values in outputs])
    signs = rng.choice([-1.0, 1.0], size=(1000, n))
    largest = (signs @ ramp(margins, gamma).T).max(axis=1)
    trace = np.square(features).sum()
    bound = bound_terms(margins[0], 1.0, trace, outputs=k)
    for form in bound.complexity_forms.values():
        assert 2 * largest.mean() / n <= form / bound.r / gamma


def test_ramp():
    np.testing.assert_allclose(
        ramp([-1.0, 0.0, 0.5, 2.0, 3.0], 2.0), [1.0, 1.0, 0.75, 0.0, 0.0]
    )


ERRORS = [
    ({"margins": np.ones((3, 1))}, "`margins` must be of shape"),
    ({"margins": np.ones(0)}, "`margins` must be of shape"),
    ({"margins": [np.nan, 1.0]}, "`margins` must be finite"),
    ({"radius": -1.0}, "`radius` must be"),
    ({"radius": float("inf")}, "`radius` must be"),
    ({"trace": 0.0}, "`trace` must be a finite number > 0"),
    ({"trace": np.nan}, "`trace` must be a finite number > 0"),
    ({"trace": np.ones(2)}, "`trace` must be a finite number > 0"),
    ({"outputs": 0}, "`outputs` must be an integer"),
    ({"outputs": 2.5}, "`outputs` must be an integer"),
    ({"delta": 1.5}, "`delta` must be"),
    ({"delta": 0}, "`delta` must be"),
    ({"teacher_wrong": np.ones(2, bool)}, "`teacher_wrong` must be booleans"),
    ({"teacher_wrong": np.ones(3)}, "`teacher_wrong` must be booleans"),
]


@pytest.mark.wrong_input
@pytest.mark.parametrize(("change", "message"), ERRORS)
def test_errors_name_the_argument(change, message):
    arguments = {"margins": np.ones(3), "radius": 1.0, "trace": 3.0, **change}
    with pytest.raises(ValueError, match=message) as error:
        bound_terms(**arguments)
    assert "Received: " in str(error.value)
