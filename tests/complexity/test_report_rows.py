"""The rows of the teacher report, beside direct solves and scikit-learn."""

import keras
import numpy as np
import pytest
from scipy.special import expit, softmax
from teachers_compared import (
    FIT,
    HELD,
    N,
    assert_same_rows,
    brute_force,
    data,
    known_kernel,
    linear_student,
    some_logits,
    teacher_model,
)

from keras_kd.complexity import compare_teachers, distillation_bound
from keras_kd.complexity.ranking import comparison
from keras_kd.teachers import TeacherTrajectory, TrajectoryRecorder


@pytest.mark.parametrize("kind", ["probabilities", "logits"])
def test_rows_against_direct_solves(kind):
    x, y = data()
    logits = {"one": some_logits(1), "two": 2 * np.eye(3)[y] + some_logits(2)}
    report = compare_teachers(
        linear_student(), logits, x, y, (1, 5), held_out=HELD, kind=kind
    )
    kernel = known_kernel(x)
    ridge = 1e-3 * np.trace(kernel[np.ix_(FIT, FIT)]) / len(FIT)
    assert report.ridge == pytest.approx(ridge, rel=1e-5)
    assert (report.n, report.n_heldout) == (len(FIT), len(HELD))
    assert [(r.teacher, r.temperature) for r in report.rows] == [
        ("one", 1), ("one", 5), ("two", 1), ("two", 5)
    ]  # fmt: skip
    for row in report.rows:
        targets = logits[row.teacher] / row.temperature
        if kind == "probabilities":
            targets = softmax(targets, axis=1)
        targets = targets - targets.mean(axis=1, keepdims=True)
        complexity, predictions, error = brute_force(kernel, targets, ridge)
        best, second = np.sort(targets[FIT], axis=1)[:, :-3:-1].T
        norm = np.sqrt(np.mean(np.sum(targets[FIT] ** 2, axis=1)))
        of_teacher = logits[row.teacher].argmax(1)
        assert row.complexity == pytest.approx(complexity, rel=1e-4)
        assert row.complexity_per_margin == pytest.approx(
            complexity / np.mean(best - second), rel=1e-4
        )
        assert row.complexity_per_norm == pytest.approx(complexity / norm, rel=1e-4)
        assert row.leave_one_out_error == pytest.approx(error, rel=1e-4)
        decided = predictions.argmax(1)
        assert row.heldout_accuracy == np.mean(decided == y[HELD])
        assert row.heldout_fidelity == pytest.approx(
            np.mean(decided == of_teacher[HELD])
        )
        assert row.teacher_accuracy == np.mean(of_teacher == y)
        bound = distillation_bound(
            kernel[np.ix_(FIT, FIT)],
            targets[FIT],
            labels=y[FIT],
            delta=0.05 / 2,
            ridge=ridge,
        )
        assert row.bound.total == pytest.approx(bound.total, rel=1e-4)
        assert row.bound.reasons == bound.reasons
    assert report.best.teacher == "two"


def test_one_logit_is_two_classes():
    x, y = data(2)
    logits = 4.0 * y - 2 + np.random.default_rng(1).standard_normal(N)
    report = compare_teachers(linear_student(1), logits, x, y, (2,), held_out=HELD)
    (row,) = report.rows
    targets = (expit(logits / 2) - 0.5)[:, None]
    complexity, predictions, error = brute_force(known_kernel(x), targets, report.ridge)
    assert row.complexity == pytest.approx(complexity, rel=1e-4)
    assert row.complexity_per_margin == pytest.approx(
        complexity / np.mean(np.abs(targets[FIT])), rel=1e-4
    )
    assert row.leave_one_out_error == pytest.approx(error, rel=1e-4)
    assert row.heldout_accuracy == np.mean((predictions.ravel() > 0) == y[HELD])
    assert row.teacher_accuracy == np.mean((logits > 0) == y)
    assert row.teacher == "teacher"


def test_a_trajectory_has_a_row_for_each_checkpoint(tmp_path):
    x, y = data()
    teacher = teacher_model()
    teacher.compile(
        keras.optimizers.SGD(0.3),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    recorder = TrajectoryRecorder(tmp_path / "run")
    teacher.fit(x, y, batch_size=20, epochs=3, callbacks=[recorder], verbose=0)
    trajectory = TeacherTrajectory(tmp_path / "run")
    student = linear_student()
    report = compare_teachers(student, trajectory, x, y, (1, 4), held_out=HELD)
    assert report.criterion == "bound_total"
    assert [(r.teacher, r.step) for r in report.rows[::2]] == [
        ("run", 3), ("run", 6), ("run", 9)
    ]  # fmt: skip
    logits = [trajectory.load(i).predict(x, verbose=0) for i in range(3)]
    again = compare_teachers(student, logits, x, y, (1, 4), held_out=HELD)
    assert [r.teacher for r in again.rows[::2]] == [f"teacher {i}" for i in range(3)]
    assert_same_rows(report.rows, again.rows, rtol=1e-3)
    assert len({row.complexity for row in report.rows}) == 6
    # All together, a trajectory among others.
    mixed = {"logits": logits[0], "stages": trajectory, "model": teacher}
    rows = compare_teachers(student, mixed, x, y, 4, held_out=HELD, batch_size=7).rows
    assert [row.label for row in rows] == [
        "logits", "stages, step 3", "stages, step 6", "stages, step 9", "model"
    ]  # fmt: skip
    assert rows[0].complexity == pytest.approx(rows[1].complexity, rel=1e-3)
    assert rows[4].complexity == pytest.approx(rows[3].complexity, rel=1e-3)


def test_models_are_named_and_run_in_inference_mode():
    x, y = data()
    models = [teacher_model(0), teacher_model(1)]
    before = [w.copy() for model in models for w in model.get_weights()]
    logits = {f"m{i}": model.predict(x, verbose=0) for i, model in enumerate(models)}
    student = linear_student()
    rows = compare_teachers(student, models, x, y).rows
    assert [row.teacher for row in rows[::4]] == ["mlp", "mlp (1)"]
    assert_same_rows(rows, compare_teachers(student, logits, x, y).rows, rtol=1e-3)
    after = [w for model in models for w in model.get_weights()]
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)


def test_teachers_of_probabilities():
    x, y = data()
    logits = teacher_model(0)
    probabilities = teacher_model(0, "softmax")
    student = linear_student()
    one = compare_teachers(student, logits, x, y)
    other = compare_teachers(
        student, probabilities, x, y, teacher_outputs="probabilities"
    )
    assert_same_rows(one.rows, other.rows, rtol=1e-3)
    with pytest.raises(ValueError, match="`teacher_outputs` must agree"):
        compare_teachers(student, probabilities, x, y)


def test_without_labels_there_is_fidelity():
    x, y = data()
    teachers = {"one": some_logits(1), "two": some_logits(2)}
    student = linear_student()
    report = compare_teachers(student, teachers, x, held_out=HELD)
    labelled = compare_teachers(
        student, teachers, x, y, held_out=HELD, criterion="heldout_fidelity"
    )
    assert report.criterion == "heldout_fidelity"
    for row, other in zip(report.rows, labelled.rows, strict=True):
        assert row.heldout_accuracy is row.teacher_accuracy is None
        assert row.bound.bounds == "disagreement"
        assert row.heldout_fidelity == other.heldout_fidelity
        assert row.rank == other.rank
    assert "teacher\nacc." not in str(report)


def test_held_out_examples_only_test():
    x, y = data()
    logits = some_logits(1)
    other = logits.copy()
    other[HELD] = some_logits(5)[HELD]
    rows = compare_teachers(
        linear_student(), {"a": logits, "b": other}, x, y, (1,), held_out=HELD
    ).rows
    assert rows[0].complexity == rows[1].complexity
    assert rows[0].heldout_accuracy == rows[1].heldout_accuracy
    assert rows[0].heldout_fidelity != rows[1].heldout_fidelity


def test_the_split_is_drawn_by_the_seed():
    x, y = data()
    student = linear_student()

    def of(**kwargs):
        report = compare_teachers(student, some_logits(), x, y, (1,), **kwargs)
        return report.n_heldout, report.rows[0].complexity

    assert of() == of(seed=0)
    assert of()[0] == 15
    assert of(seed=1)[1] != of()[1]
    assert of(held_out=0.5)[0] == 30
    assert of(held_out=1e-6)[0] == 1
    assert of(held_out=0.999)[0] == N - 1


def test_one_kernel_serves_all(monkeypatch):
    calls = []

    def counted(name):
        original = getattr(comparison, name)

        def count(*args, **kwargs):
            calls.append(name)
            return original(*args, **kwargs)

        monkeypatch.setattr(comparison, name, count)

    counted("empirical_ntk")
    counted("KernelFactorization")
    x, y = data()
    student = linear_student()
    teachers = [some_logits(i) for i in range(4)]
    report = compare_teachers(student, teachers, x, y, held_out=HELD)
    assert calls == ["empirical_ntk"] + 3 * ["KernelFactorization"]
    given = compare_teachers(
        student, teachers, x, y, kernel=known_kernel(x), held_out=HELD
    )
    assert calls.count("empirical_ntk") == 1
    assert_same_rows(report.rows, given.rows, rtol=1e-3)


def test_features_stand_for_the_kernel():
    x, y = data()
    student, logits = linear_student(), some_logits()
    exact = compare_teachers(student, logits, x, y, (1, 4), held_out=HELD, ridge=1.0)
    fast = compare_teachers(
        student, logits, x, y, (1, 4), held_out=HELD, ridge=1.0, features=1024
    )
    assert (exact.features, fast.features) == (None, 1024)
    for row, other in zip(exact.rows, fast.rows, strict=True):
        assert row.complexity == pytest.approx(other.complexity, rel=0.1)
        assert row.leave_one_out_error == pytest.approx(
            other.leave_one_out_error, rel=0.1
        )
    assert "1,024 features" in str(fast)
