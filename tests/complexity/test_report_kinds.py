"""Classes, sets of labels and values in the teacher report, and how they are told."""

import re

import keras
import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import accuracy_score, hamming_loss, mean_squared_error, r2_score
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

from keras_kd.complexity import TeacherReport, compare_teachers, distillation_bound
from keras_kd.complexity.ranking import comparison
from keras_kd.complexity.ranking.criteria import CRITERIA, criteria_of
from keras_kd.outputs import KINDS, bernoulli, continuous
from keras_kd.teachers import TeacherTrajectory, TrajectoryRecorder, mean

pytestmark = pytest.mark.one_backend


def of_labels():
    """Examples with three labels, each there or not, and two teachers' logits."""
    x, _ = data()
    rng = np.random.default_rng(3)
    y = (x[:, :3] + 0.5 * rng.standard_normal((N, 3)) > 0.7).astype(int)
    y[0] = 0, 1, 1
    good = 4.0 * y - 2 + rng.standard_normal((N, 3))
    return x, y, {"good": good, "bad": some_logits(5)}


def of_values(offset=0.0):
    """Examples with two values, and two teachers'."""
    x, _ = data()
    rng = np.random.default_rng(4)
    y = x[:, :2] * [1.0, 3.0] + 0.1 * rng.standard_normal((N, 2)) + offset
    good = y + 0.2 * rng.standard_normal((N, 2))
    return x, y, {"good": good, "bad": offset + 2 * rng.standard_normal((N, 2))}


@pytest.mark.parametrize("kind", ["probabilities", "logits"])
def test_sets_of_labels_against_direct_solves(kind):
    x, y, logits = of_labels()
    report = compare_teachers(
        linear_student(), logits, x, y, (1, 5), held_out=HELD, kind=kind
    )
    assert (report.output_kind, report.outputs) == ("bernoulli", 3)
    assert report.criterion == "bound_total"
    kernel = known_kernel(x)
    for row in report.rows:
        scaled = logits[row.teacher] / row.temperature
        targets = expit(scaled) - 0.5 if kind == "probabilities" else scaled
        complexity, predictions, error = brute_force(kernel, targets, report.ridge)
        norm = np.sqrt(np.mean(np.sum(targets[FIT] ** 2, axis=1)))
        there = logits[row.teacher] > 0
        assert row.complexity == pytest.approx(complexity, rel=1e-4)
        assert row.complexity_per_margin == pytest.approx(
            complexity / np.mean(np.abs(targets[FIT])), rel=1e-4
        )
        assert row.complexity_per_norm == pytest.approx(complexity / norm, rel=1e-4)
        assert row.leave_one_out_error == pytest.approx(error, rel=1e-4)
        assert row.teacher_accuracy == pytest.approx(1 - hamming_loss(y, there))
        decided = predictions > 0
        assert row.heldout_accuracy == pytest.approx(1 - hamming_loss(y[HELD], decided))
        assert row.heldout_fidelity == pytest.approx(
            1 - hamming_loss(there[HELD], decided)
        )
        bound = distillation_bound(
            kernel[np.ix_(FIT, FIT)],
            targets[FIT],
            labels=y[FIT],
            delta=0.05 / 2,
            ridge=report.ridge,
            output_kind="bernoulli",
        )
        assert row.bound.total == pytest.approx(bound.total, rel=1e-4)
        assert len(row.bound.labels) == 3
        assert row.heldout_error is row.teacher_error is None
    assert report.best.teacher == "good"
    # Classes are something else: a softmax, and one of them.
    classes = compare_teachers(
        linear_student(), logits, x, None, (1, 5), held_out=HELD, kind=kind
    )
    assert classes.output_kind == "categorical"
    assert classes.rows[0].complexity != pytest.approx(report.rows[0].complexity)


@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_values_against_direct_solves(offset):
    x, y, values = of_values(offset)
    report = compare_teachers(linear_student(2), values, x, y, held_out=HELD)
    assert (report.output_kind, report.outputs) == ("continuous", 2)
    assert report.criterion == "heldout_error"
    assert [row.temperature for row in report.rows] == [1.0, 1.0]
    kernel = known_kernel(x)
    variance = np.mean(np.sum((y - y.mean(0)) ** 2, axis=1))
    for row in report.rows:
        said = values[row.teacher]
        level = said[FIT].mean(axis=0)
        complexity, predictions, error = brute_force(kernel, said - level, report.ridge)
        spread = np.sqrt(np.mean(np.sum((said[FIT] - level) ** 2, axis=1)))
        assert row.complexity == pytest.approx(complexity, rel=1e-4)
        assert row.complexity_per_norm == pytest.approx(complexity / spread, rel=1e-4)
        assert row.leave_one_out_error == pytest.approx(error, rel=1e-4)
        assert row.teacher_error == pytest.approx(
            1 - r2_score(y, said, multioutput="variance_weighted")
        )
        missed = 2 * mean_squared_error(y[HELD], predictions + level)
        assert row.heldout_error == pytest.approx(missed / variance, rel=1e-4)
        assert row.heldout_accuracy is row.heldout_fidelity is None
        assert row.teacher_accuracy is row.complexity_per_margin is None
        assert row.bound is row.bound_total is None
    assert report.best.teacher == "good"
    assert 0 < report.best.heldout_error < 0.1 < report.rows[1].heldout_error
    assert report.residual < 1e-9


def test_a_level_is_not_complex():
    x, y, values = of_values()
    student = linear_student(2)
    rows = compare_teachers(student, values, x, y, held_out=HELD).rows
    by = np.array([7, -300])
    moved = {name: value + by for name, value in values.items()}
    others = compare_teachers(student, moved, x, y + by, held_out=HELD).rows
    for row, other in zip(rows, others, strict=True):
        for column in criteria_of(continuous):
            assert getattr(other, column) == pytest.approx(getattr(row, column))


def test_values_without_labels_are_ranked_by_what_is_left_out():
    x, _, values = of_values()
    report = compare_teachers(
        linear_student(2), values, x, output_kind="continuous", held_out=HELD
    )
    assert report.criterion == "leave_one_out_error"
    assert report.best.teacher == "good"
    for row in report.rows:
        assert row.heldout_error is row.teacher_error is None
    nothing = {"nothing": np.full((N, 2), 3.0), **values}
    report = compare_teachers(linear_student(2), nothing, x, output_kind="continuous")
    assert report.rows[0].leave_one_out_error is None
    assert report.rows[0].rank == 3
    assert str(report)


def test_one_value_may_be_a_vector():
    x, y, values = of_values()
    student = linear_student(1)
    reports = [
        compare_teachers(
            student,
            {name: value[:, 1] for name, value in values.items()},
            x,
            labels,
            held_out=HELD,
        )
        for labels in (y[:, 1], y[:, [1]])
    ]
    assert reports[0] == reports[1]
    assert reports[0].output_kind == "continuous"
    (row, _), kernel = reports[0].rows, known_kernel(x)
    said = values["good"][:, [1]]
    complexity, _, _ = brute_force(kernel, said - said[FIT].mean(), reports[0].ridge)
    assert row.complexity == pytest.approx(complexity, rel=1e-4)


def test_features_stand_for_the_kernel_of_values():
    x, y, values = of_values()
    student = linear_student(2)
    options = {"held_out": HELD, "ridge": 1.0}
    exact = compare_teachers(student, values, x, y, **options)
    fast = compare_teachers(student, values, x, y, features=1024, **options)
    for row, other in zip(exact.rows, fast.rows, strict=True):
        assert row.heldout_error == pytest.approx(other.heldout_error, rel=0.3)
        assert row.complexity == pytest.approx(other.complexity, rel=0.1)


def test_one_hot_labels_are_classes():
    x, y = data()
    teachers = {"a": some_logits(1), "b": some_logits(2)}
    student = linear_student()
    expected = compare_teachers(student, teachers, x, y)
    for dtype in (bool, "int64", "float32"):
        one_hot = np.eye(3, dtype=dtype)[y]
        assert compare_teachers(student, teachers, x, one_hot) == expected
    tensor = keras.ops.one_hot(y, 3)
    assert compare_teachers(student, teachers, x, tensor) == expected
    # Each example has one label: said of labels, these rows are a set of labels.
    labels = compare_teachers(
        student, teachers, x, one_hot, output_kind="bernoulli", held_out=HELD
    )
    assert labels.output_kind == "bernoulli"
    assert labels.rows[0].teacher_accuracy == pytest.approx(
        1 - hamming_loss(one_hot, teachers["a"] > 0)
    )


def compiled(loss, activation=None, units=3, seed=0):
    model = teacher_model(seed, activation, units)
    model.compile("sgd", loss)
    return model


CLASSES = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
LABELS = keras.losses.BinaryCrossentropy(from_logits=True)
_, HOT, _ = of_labels()
_, Y = data()
REALS = np.random.default_rng(0).standard_normal((N, 3))


@pytest.mark.parametrize(
    ("teacher", "y", "expected"),
    [
        (lambda: some_logits(), None, "categorical"),
        (lambda: some_logits(), Y, "categorical"),
        (lambda: some_logits(), Y[:, None], "categorical"),
        (lambda: some_logits(), Y.astype(float), "categorical"),
        (lambda: some_logits(), np.eye(3)[Y], "categorical"),
        (lambda: some_logits(), HOT, "bernoulli"),
        (lambda: some_logits(), HOT.astype(bool), "bernoulli"),
        (lambda: some_logits(), REALS, "continuous"),
        (lambda: compiled(CLASSES), Y, "categorical"),
        (lambda: compiled(LABELS), HOT, "bernoulli"),
        (lambda: compiled(LABELS), None, "bernoulli"),
        # Each example has one label, which does not make them classes.
        (lambda: compiled(LABELS), np.eye(3)[Y], "bernoulli"),
        (lambda: compiled("mse"), Y, "categorical"),
        (lambda: compiled("mse"), np.eye(3)[Y], "categorical"),
        (lambda: compiled("mse"), HOT, "bernoulli"),
        (lambda: compiled("mse"), REALS, "continuous"),
        (lambda: compiled("mse"), expit(REALS), "continuous"),
        (lambda: compiled("mse"), 5 + 0 * REALS, "continuous"),
        (lambda: compiled("mse"), None, "continuous"),
        (lambda: [compiled("mse"), compiled(CLASSES)], None, "categorical"),
        (lambda: mean([compiled(LABELS), compiled(LABELS)]), HOT, "bernoulli"),
    ],
)
def test_what_the_outputs_mean(teacher, y, expected):
    x, _ = data()
    report = compare_teachers(linear_student(), teacher(), x, y)
    assert report.output_kind == expected
    temperatures = {1} if expected == "continuous" else {1, 2, 4, 8}
    assert {row.temperature for row in report.rows} == temperatures


@pytest.mark.parametrize(
    ("loss", "y", "expected"),
    [
        (None, Y > 1, "bernoulli"),
        (None, np.float32(Y > 1), "bernoulli"),
        (None, REALS[:, 0], "continuous"),
        (LABELS, None, "bernoulli"),
        (CLASSES, Y > 1, "bernoulli"),
        ("mse", Y > 1, "bernoulli"),
        ("mse", np.float32(Y > 1), "continuous"),
        ("mse", Y, "continuous"),
        ("mse", REALS[:, :1], "continuous"),
        ("mse", None, "continuous"),
    ],
)
def test_what_one_output_means(loss, y, expected):
    x, _ = data()
    model = compiled(loss or "mse", units=1)
    teacher = REALS[:, 1] if loss is None else model
    assert compare_teachers(linear_student(1), teacher, x, y).output_kind == expected


def test_a_sigmoid_says_it():
    x, y, _ = of_labels()
    sigmoids = teacher_model(0, "sigmoid")
    logits = teacher_model(0)
    report = compare_teachers(
        linear_student(), sigmoids, x, y, teacher_outputs="probabilities"
    )
    assert report.output_kind == "bernoulli"
    assert_same_rows(
        report.rows, compare_teachers(linear_student(), logits, x, y).rows, rtol=1e-3
    )
    # Trained by a squared error it may be a value from 0 to 1.
    values = compiled("mse", "sigmoid")
    report = compare_teachers(linear_student(), values, x, expit(REALS))
    assert report.output_kind == "continuous"
    # Of a student that is not compiled a sigmoid is one of labels.
    student = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "sigmoid")])
    with pytest.raises(ValueError, match="output_kind='continuous' to `compare_teach"):
        compare_teachers(student, values, x, expit(REALS))
    report = compare_teachers(
        student, values, x, expit(REALS), output_kind="continuous"
    )
    said = values.predict(x, verbose=0)
    assert_same_rows(
        report.rows,
        compare_teachers(student, said, x, expit(REALS), output_kind="continuous").rows,
        rtol=1e-3,
    )


def test_a_trajectory_remembers_what_it_is_of(tmp_path):
    x, y, _ = of_labels()
    for name, loss, expected in (
        ("labels", LABELS, "bernoulli"),
        ("values", "mse", "continuous"),
    ):
        teacher = compiled(loss)
        teacher.fit(
            x, y, epochs=2, verbose=0, callbacks=[TrajectoryRecorder(tmp_path / name)]
        )
        trajectory = TeacherTrajectory(tmp_path / name)
        truth = y if name == "labels" else y + 0.3
        report = compare_teachers(linear_student(), trajectory, x, truth)
        assert report.output_kind == expected
        assert [row.step for row in report.rows[:: len(report.rows) // 2]] == [2, 4]
        said = trajectory.load(-1).predict(x, verbose=0)
        again = compare_teachers(linear_student(), said, x, output_kind=expected)
        assert report.rows[-1].complexity == pytest.approx(
            again.rows[-1].complexity, rel=1e-3
        )


def test_labels_of_one_output_are_two_classes():
    x, y = data(2)
    logits = 4.0 * y - 2 + np.random.default_rng(1).standard_normal(N)
    student = linear_student(1)
    expected = compare_teachers(student, logits, x, y)
    said = compare_teachers(student, logits, x, y[:, None], output_kind="bernoulli")
    assert said == expected
    assert said.rows[0].teacher_accuracy == accuracy_score(y, logits > 0)
    assert "label" not in str(said)


_, _, VALUES = of_values()


@pytest.mark.wrong_input
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"output_kind": "labels"}, "`output_kind` must be one of"),
        ({"y": HOT[:, 0], "output_kind": "bernoulli"}, "`y` must be zeros and ones of"),
        (
            {"y": HOT, "output_kind": "categorical"},
            "`y` must be of shape (60,), or one",
        ),
        ({"y": REALS, "output_kind": "bernoulli"}, "`y` must be zeros and ones of sha"),
        ({"y": expit(REALS)}, "`output_kind` must say what the outputs mean where `y`"),
        (
            {"y": REALS[:, :2]},
            "`y` must be of shape (60,), or one-hot of shape (60, 3)",
        ),
        ({"y": Y, "output_kind": "continuous"}, "`y` must be of shape (60, 3). Receiv"),
        ({"y": REALS, "temperatures": (1, 2)}, "must be left out, or 1, for outputs t"),
        ({"y": REALS, "temperatures": 4}, "Received: temperatures=(4.0,). Of classes"),
        ({"criterion": "heldout_error"}, "for outputs that are categorical. Received"),
        (
            {"y": REALS, "criterion": "bound_total"},
            "`criterion` must be one of ['complexity', 'complexity_per_norm', "
            "'leave_one_out_error', 'heldout_error', 'teacher_error'] for outputs that "
            "are continuous: by values nothing is decided. "
            "Received: criterion='bound_total'",
        ),
        (
            {"output_kind": "continuous", "criterion": "teacher_error"},
            "`criterion='teacher_error'` needs labels. Received: y=None",
        ),
        (
            {"teachers": lambda: {"a": compiled(CLASSES), "b": compiled(LABELS)}},
            "Received: output_kind=None, and teacher 'a' is categorical, teacher 'b' "
            "is bernoulli",
        ),
        (
            {
                "teachers": lambda: teacher_model(0, "softmax"),
                "output_kind": "bernoulli",
                "teacher_outputs": "probabilities",
            },
            "`output_kind` must agree with the last activations",
        ),
        (
            {
                "student": lambda: keras.Sequential(
                    [keras.Input((4,)), keras.layers.Dense(3, "softmax")]
                ),
                "output_kind": "continuous",
            },
            "`output_kind` must agree with the last activations",
        ),
        (
            {
                "student": lambda: keras.Sequential(
                    [keras.Input((4,)), keras.layers.Dense(3, "sigmoid")]
                ),
                "output_kind": "bernoulli",
            },
            "`student` must give logits",
        ),
        (
            {
                "student": lambda: linear_student(1),
                "teachers": REALS[:, 0],
                "output_kind": "categorical",
            },
            "needs an output for each class. Received: 1 output.",
        ),
    ],
)
def test_mistakes_are_found_before_the_kernel(change, message, monkeypatch):
    monkeypatch.setattr(comparison, "empirical_ntk", None)
    x, _ = data()
    arguments = {"student": linear_student, "teachers": some_logits(), "x": x} | change
    arguments = {
        name: value() if callable(value) else value for name, value in arguments.items()
    }
    with pytest.raises(ValueError, match=re.escape(message)):
        compare_teachers(**arguments)


def test_temperature_1_may_be_said_of_values():
    x, y, values = of_values()
    student = linear_student(2)
    assert compare_teachers(student, values, x, y, 1) == compare_teachers(
        student, values, x, y
    )


def test_every_kind_of_report_is_written_and_shown():
    x, _ = data()
    for y, teachers, units, shown in (
        (
            HOT,
            of_labels()[2],
            3,
            ["label", "fid.", "bound", "temp.", "shares of label"],
        ),
        (of_values()[1], VALUES, 2, ["error", "LOO", "norm", "Errors are squared"]),
    ):
        report = compare_teachers(linear_student(units), teachers, x, y)
        assert TeacherReport.from_json(report.to_json()) == report
        text = str(report)
        for word in shown:
            assert word in text
        assert "None" not in text
        if report.output_kind == "continuous":
            for word in ("acc.", "fid.", "bound", "margin", "temp."):
                assert word not in text
        for criterion in criteria_of(KINDS[report.output_kind]):
            ranked = compare_teachers(
                linear_student(units), teachers, x, y, criterion=criterion
            )
            column = [getattr(row, criterion) for row in ranked.ranking]
            assert column == sorted(column, reverse=CRITERIA[criterion])
    assert set(criteria_of(bernoulli)) | set(criteria_of(continuous)) == set(CRITERIA)


def test_values_are_drawn_without_temperatures():
    from matplotlib import pyplot

    pyplot.switch_backend("Agg")
    x, y, values = of_values()
    report = compare_teachers(linear_student(2), values, x, y)
    ax = report.plot()
    assert ax.get_xlabel() == ""
    assert [label.get_text() for label in ax.get_xticklabels()] == [""]
    with pytest.raises(ValueError, match="`column` must be one that was measured"):
        report.plot("bound_total")
    pyplot.close("all")
