import keras
import numpy as np
import pytest
from loss_inputs import normal, softmax, value

from keras_kd.losses import DecoupledKD, SoftTargets

LABELS = np.array([0, 3, 1, 1, 2, 2])


def kl(p, q):
    return np.sum(p * np.log(p / q), axis=-1)


def of_paper(teacher, student, labels, alpha, beta, temperature):
    """Equation 7, example by example."""
    losses = []
    for g, f, y in zip(teacher, student, labels, strict=True):
        p, q = softmax(g / temperature), softmax(f / temperature)
        tckd = kl(np.array([p[y], 1 - p[y]]), np.array([q[y], 1 - q[y]]))
        rest = np.arange(len(p)) != y
        nckd = kl(p[rest] / p[rest].sum(), q[rest] / q[rest].sum())
        losses.append(temperature**2 * (alpha * tckd + beta * nckd))
    return np.mean(losses)


@pytest.mark.parametrize(
    ("alpha", "beta", "temperature"), [(1, 8, 4), (2, 0, 1), (0, 0.5, 2)]
)
def test_is_the_papers_equation(alpha, beta, temperature):
    teacher, student = normal(6, 4, seed=1), normal(6, 4, seed=2)
    expected = of_paper(teacher, student, LABELS, alpha, beta, temperature)
    loss = DecoupledKD(alpha, beta, temperature).compute_loss(teacher, student, LABELS)
    assert value(loss) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "labels",
    [LABELS[:, None], LABELS.astype("float32"), np.eye(4)[LABELS].astype("float32")],
    ids=["column", "float", "one_hot"],
)
def test_labels_may_be_sparse_or_one_hot(labels):
    teacher, student = normal(6, 4, seed=1), normal(6, 4, seed=2)
    expected = of_paper(teacher, student, LABELS, 1, 8, 4)
    loss = DecoupledKD().compute_loss(teacher, student, y_true=labels)
    assert value(loss) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "labels", [np.array([0, 1, 1, 0, 1, 0]), np.float32([[0], [1], [1], [0], [1], [0]])]
)
def test_one_unit_counts_as_two_classes(labels):
    teacher, student = normal(6, 1, seed=1), normal(6, 1, seed=2)
    two = [np.concatenate([0 * z, z], -1) for z in (teacher, student)]
    expected = of_paper(*two, np.ravel(labels).astype(int), 1, 8, 4)
    loss = DecoupledKD().compute_loss(teacher, student, labels)
    assert value(loss) == pytest.approx(expected, rel=1e-5)


def test_labels_of_sequences():
    teacher, student = normal(2, 4, 4, seed=1), normal(2, 4, 4, seed=2)
    sparse = np.array([[0, 3, 1, 1], [2, 2, 0, 1]])
    flat = teacher.reshape(8, 4), student.reshape(8, 4), sparse.ravel()
    expected = of_paper(*flat, 1.0, 8.0, 4.0)
    for labels in (sparse, np.eye(4)[sparse]):
        loss = DecoupledKD().compute_loss(teacher, student, labels)
        assert value(loss) == pytest.approx(expected, rel=1e-5)


def test_with_the_teachers_own_weight_it_is_soft_targets():
    teacher, student = normal(1, 4, seed=1), normal(1, 4, seed=2)
    rest = 1 - softmax(teacher / 2.0)[0, 3]
    decoupled = DecoupledKD(1.0, rest, 2.0).compute_loss(teacher, student, LABELS[1:2])
    coupled = SoftTargets(2.0).compute_loss(teacher, student)
    assert value(decoupled) == pytest.approx(value(coupled), rel=1e-5)


def test_a_certain_teacher_stays_exact():
    # TCKD -> log(1 + exp(40)); NCKD is 0, the other classes are alike.
    teacher, student = np.float32([[200.0, 0, 0, 0]]), np.float32([[0, 40, 40, 40]])
    loss = DecoupledKD(temperature=1.0).compute_loss(teacher, student, np.array([0]))
    assert value(loss) == pytest.approx(40 + np.log(3), rel=1e-6)


@pytest.mark.parametrize("wrong", [-1, 5, 77])
def test_a_label_that_is_no_class_is_nan_unless_it_does_not_count(wrong):
    teacher, student = normal(3, 5, seed=1), normal(3, 5, seed=2)
    labels = np.array([0, wrong, 4], "int32")
    with pytest.raises(ValueError, match=rf"from 0 to 4\. Received: 1 .* {wrong} "):
        DecoupledKD().compute_loss(teacher, student, y_true=labels)
    seen_late = keras.ops.convert_to_tensor(labels)
    loss = DecoupledKD().compute_loss(teacher, student, y_true=seen_late)
    assert np.isnan(value(loss))
    loss = DecoupledKD().compute_loss(
        teacher, student, y_true=seen_late, sample_weight=np.float32([1, 0, 1])
    )
    kept = [0, 2]
    expected = DecoupledKD().compute_loss(
        teacher[kept], student[kept], y_true=labels[kept]
    )
    assert value(loss) == pytest.approx(value(expected) * 2 / 3, rel=1e-5)
