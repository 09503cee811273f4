"""Exact at every temperature: float32 beside the plain formulas in 50 digits."""

import mpmath
import numpy as np
import pytest
from loss_inputs import gradient, normal, softmax, value

from keras_kd.losses import DIST, DecoupledKD, SoftTargets

mpmath.mp.dps = 50
NEG = -np.inf


def _log_softmax(row, temperature):
    scaled = [mpmath.mpf(float(z)) / temperature for z in row]
    log_sum = mpmath.log(sum(mpmath.exp(z) for z in scaled))
    return [z - log_sum for z in scaled]


def _kl(teacher, student, temperature):
    log_p = _log_softmax(teacher, temperature)
    log_q = _log_softmax(student, temperature)
    return sum(
        mpmath.exp(a) * (a - b) for a, b in zip(log_p, log_q, strict=True) if a != NEG
    )


def _mean(of_row, teacher, student, temperature):
    rows = [of_row(t, s, temperature) for t, s in zip(teacher, student, strict=True)]
    return float(sum(rows) / len(rows) * temperature**2)


def _gradient(teacher, student, temperature):
    """Of the mean of tau^2 KL: tau (q - p) / n."""
    rows = []
    for t, s in zip(teacher, student, strict=True):
        p, q = (
            [mpmath.exp(z) for z in _log_softmax(row, temperature)] for row in (t, s)
        )
        rows.append([float(temperature * (b - a)) for a, b in zip(p, q, strict=True)])
    return np.array(rows) / len(teacher)


@pytest.mark.parametrize("divergence", ["kl_divergence", "cross_entropy"])
@pytest.mark.parametrize(
    ("temperature", "close"),
    [(1, 1e-2), (20, 1e-2), (1, 1), (1000, 1e-2), (1000, 2), (10_000, 2), (1e6, 1)],
)
def test_soft_targets(temperature, close, divergence):
    teacher = normal(6, 5, seed=1)
    student = teacher + normal(6, 5, seed=2, scale=close)
    loss = SoftTargets(temperature, divergence)
    if divergence == "kl_divergence":
        expected = _mean(_kl, teacher, student, temperature)
        actual = value(loss.compute_loss(teacher, student))
        assert actual == pytest.approx(expected, rel=1e-5)
    actual = gradient(lambda s: loss.compute_loss(teacher, s), student)
    expected = _gradient(teacher, student, temperature)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-6 * close)


@pytest.mark.parametrize("temperature", [1, 1000, 10_000])
def test_labels_that_are_there_or_not(temperature):
    teacher = normal(6, 3, seed=1)
    student = teacher + normal(6, 3, seed=2, scale=0.01)

    def kl(t, s, temperature):
        return sum(_kl([0, a], [0, b], temperature) for a, b in zip(t, s, strict=True))

    def loss(s):
        return SoftTargets(temperature).compute_loss(
            teacher, s, output_kind="bernoulli"
        )

    expected = _mean(kl, teacher, student, temperature)
    assert value(loss(student)) == pytest.approx(expected, rel=1e-5)
    pairs = [np.stack([0 * z, z], -1).reshape(-1, 2) for z in (teacher, student)]
    expected = 3 * _gradient(*pairs, temperature)[:, 1].reshape(6, 3)
    np.testing.assert_allclose(gradient(loss, student), expected, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("temperature", [1, 1000, 10_000])
def test_decoupled(temperature):
    teacher = normal(6, 5, seed=1)
    student = teacher + normal(6, 5, seed=2, scale=0.01)
    labels = np.arange(6) % 5

    def parts(alpha, beta):
        total = mpmath.mpf(0)
        for t, s, y in zip(teacher, student, labels, strict=True):
            both = []
            for row in (t, s):
                log_p = _log_softmax(row, temperature)
                rest = mpmath.log(
                    sum(mpmath.exp(z) for i, z in enumerate(log_p) if i != y)
                )
                both.append((temperature * log_p[y], temperature * rest))
            total += alpha * _kl(*both, temperature) if alpha else 0
            total += beta * _kl(np.delete(t, y), np.delete(s, y), temperature)
        return float(total / 6 * temperature**2)

    for alpha, beta in [(1, 0), (0, 1), (1, 8)]:
        loss = DecoupledKD(alpha, beta, temperature)
        actual = value(loss.compute_loss(teacher, student, y_true=labels))
        assert actual == pytest.approx(parts(alpha, beta), rel=1e-4)


def _pearson_distance(x, y):
    x, y = ([z - sum(v) / len(v) for z in v] for v in (x, y))
    norms = mpmath.sqrt(sum(z**2 for z in x) * sum(z**2 for z in y))
    return 1 - sum(a * b for a, b in zip(x, y, strict=True)) / norms


@pytest.mark.parametrize(
    ("temperature", "close"),
    [(1, 1), (1, 1e-2), (1000, 1e-2), (1000, 1), (1e4, 1e-2), (1e4, 1), (1e6, 1)],
)
@pytest.mark.parametrize(("beta", "gamma"), [(1, 0), (0, 1)])
def test_dist(temperature, close, beta, gamma):
    teacher = normal(6, 5, seed=1, scale=2.0)
    student = teacher + normal(6, 5, seed=2, scale=close)
    p, q = (
        [[mpmath.exp(z) for z in _log_softmax(row, temperature)] for row in logits]
        for logits in (teacher, student)
    )
    if gamma:
        p, q = zip(*p, strict=True), zip(*q, strict=True)
    distances = [_pearson_distance(x, y) for x, y in zip(p, q, strict=True)]
    expected = float(sum(distances) / len(distances) * temperature**2)
    loss = DIST(beta, gamma, temperature)
    actual = value(loss.compute_loss(teacher, student))
    assert actual == pytest.approx(expected, rel=1e-3 if close < 1 else 1e-5)


def test_dist_of_classes_that_are_rare():
    """Columns of probabilities that vary far below those of other classes."""
    teacher, student = normal(6, 3, seed=1), normal(6, 3, seed=2)
    teacher[:, 0] += 8
    student[:, 0] += 8
    p, q = (softmax(np.float64(z)).T for z in (teacher, student))
    expected = np.mean([1 - np.corrcoef(x, y)[0, 1] for x, y in zip(p, q, strict=True)])
    actual = value(DIST(0, 1).compute_loss(teacher, student))
    assert actual == pytest.approx(expected, rel=1e-3)


def test_the_limit_is_the_squared_error_of_centred_logits():
    teacher, student = normal(6, 4, seed=1), normal(6, 4, seed=2)
    difference = np.float64(student) - teacher
    difference -= difference.mean(-1, keepdims=True)
    expected = np.mean(np.square(difference)) / 2
    loss = SoftTargets(1e6)
    assert value(loss.compute_loss(teacher, student)) == pytest.approx(
        expected, rel=1e-4
    )
    actual = gradient(lambda s: loss.compute_loss(teacher, s), student)
    np.testing.assert_allclose(actual, difference / 24, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 1000.0])
def test_banned_classes_count_nothing(temperature):
    teacher, student = normal(6, 5, seed=1), normal(6, 5, seed=2)
    allowed = [0, 2, 4]
    loss = SoftTargets(temperature)
    expected = _mean(_kl, teacher[:, allowed], student[:, allowed], temperature)
    of_allowed = _gradient(teacher[:, allowed], student[:, allowed], temperature)
    banned = [z.copy() for z in (teacher, student)]
    for z in banned:
        z[:, [1, 3]] = NEG
    actual = value(loss.compute_loss(*banned))
    assert actual == pytest.approx(expected, rel=1e-5)
    actual = gradient(lambda s: loss.compute_loss(banned[0], s), banned[1])
    np.testing.assert_allclose(actual[:, allowed], of_allowed, rtol=1e-3, atol=1e-6)
    assert not actual[:, [1, 3]].any()


def test_a_class_that_the_teacher_alone_bans():
    teacher, student = normal(6, 5, seed=1), normal(6, 5, seed=2)
    teacher[:, 1] = NEG
    expected = _mean(_kl, teacher, student, 2)
    loss = SoftTargets(2.0)
    assert value(loss.compute_loss(teacher, student)) == pytest.approx(
        expected, rel=1e-5
    )
    actual = gradient(lambda s: loss.compute_loss(teacher, s), student)
    p, q = softmax(teacher / 2), softmax(student / 2)
    np.testing.assert_allclose(actual, 2 * (q - p) / 6, rtol=1e-4, atol=1e-6)


def test_a_class_that_the_student_alone_bans_has_finite_gradients():
    teacher, student = normal(6, 5, seed=1), normal(6, 5, seed=2)
    student[:, 1] = NEG
    loss = SoftTargets(2.0)
    assert value(loss.compute_loss(teacher, student)) > 1e6
    actual = gradient(lambda s: loss.compute_loss(teacher, s), student)
    assert np.isfinite(actual).all()


@pytest.mark.parametrize("z", [np.inf, NEG])
def test_labels_that_are_certain(z):
    certain = np.full((2, 1), z, "float32")
    loss = SoftTargets(2.0)
    assert value(loss.compute_loss(certain, certain)) == 0
    student = normal(2, 1)
    expected = 4 * np.logaddexp(0, -np.sign(z) * np.float64(student) / 2).mean()
    actual = value(loss.compute_loss(certain, student))
    assert actual == pytest.approx(expected, rel=1e-5)
