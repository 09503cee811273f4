"""The teacher report, beside direct solves and scikit-learn."""

import dataclasses
import functools
import json
import sys
import types

import keras
import numpy as np
import pytest
from scipy.special import expit, softmax
from scipy.stats import kendalltau
from sklearn.kernel_ridge import KernelRidge

from keras_kd.complexity import compare_teachers, distillation_bound
from keras_kd.complexity.ranking.report import CRITERIA, TeacherReport, ranks
from keras_kd.teachers import TeacherTrajectory, TrajectoryRecorder

N, HELD = 60, np.arange(3, 60, 4)
FIT = np.setdiff1d(np.arange(N), HELD)
MODULE = sys.modules["keras_kd.complexity.ranking.comparison"]


def data(classes=3):
    rng = np.random.default_rng(0)
    y = rng.integers(0, classes, N)
    x = rng.standard_normal((N, 4)) + 1.5 * np.eye(4)[y]
    return x.astype("float32"), y


@functools.cache
def linear_student(classes=3):
    """Its kernel is known: `x x^T + 1`, for each output. Nothing changes it."""
    return keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(classes)], name="linear"
    )


def known_kernel(x):
    x = x.astype(float)
    return x @ x.T + 1


def teacher_model(seed=0, activation=None, classes=3):
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(6, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(classes, activation=activation),
        ],
        name="mlp",
    )


def some_logits(seed=0, classes=3, scale=3.0):
    return scale * np.random.default_rng(seed).standard_normal((N, classes))


def values(row):
    """A row without its names, as a list of numbers."""
    flat = dataclasses.asdict(row)
    del flat["teacher"], flat["step"], flat["bound"]
    return [-1.0 if v is None else v for v in [*flat.values(), row.bound_total]]


def assert_same_rows(rows, others, rtol=1e-5):
    np.testing.assert_allclose(
        [values(row) for row in rows], [values(row) for row in others], rtol=rtol
    )


def brute_force(kernel, y, ridge):
    """Complexity, held-out predictions and relative leave-one-out error."""
    n = len(FIT)
    k, targets = kernel[np.ix_(FIT, FIT)], y[FIT]
    inverse = np.linalg.inv(k + ridge * np.eye(n))
    complexity = np.sqrt(np.trace(targets.T @ inverse @ targets) * np.trace(k)) / n

    def machine(rows, columns, of):
        model = KernelRidge(alpha=ridge, kernel="precomputed")
        model.fit(kernel[np.ix_(rows, rows)], y[rows])
        return model.predict(kernel[np.ix_(of, columns)])

    left = np.concatenate(
        [machine(np.setdiff1d(FIT, i), np.setdiff1d(FIT, i), [i]) for i in FIT]
    ).reshape(targets.shape)
    error = np.sum((left - targets) ** 2) / np.sum(targets**2)
    return complexity, machine(FIT, FIT, HELD), error


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
        original = getattr(MODULE, name)

        def count(*args, **kwargs):
            calls.append(name)
            return original(*args, **kwargs)

        monkeypatch.setattr(MODULE, name, count)

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


def diagonal_kernel(largest, smallest):
    """One example a direction; the last is held out."""
    return np.diag([largest, smallest, 1.0, 1.0])


@pytest.mark.parametrize(("ridge", "robust"), [(1e-3, True), (0.3, False)])
def test_ranking_that_a_ridge_turns_round(ridge, robust):
    # Squared: 100 / (10 + ridge) and 16 / (1 + ridge), which cross at about 0.7.
    report = compare_teachers(
        linear_student(1),
        {"along": np.array([10.0, 0, 0, 1]), "across": np.array([0, 4.0, 0, 1])},
        np.ones((4, 4), "float32"),
        temperatures=1,
        kind="logits",
        kernel=diagonal_kernel(10.0, 1.0),
        held_out=[3],
        ridge=ridge,
        criterion="complexity",
    )
    along, across = report.rows
    assert (along.rank, across.rank) == (1, 2)
    assert (along.rank_less_ridge, across.rank_less_ridge) == (1, 2)
    assert (along.rank_more_ridge, across.rank_more_ridge) == (
        (1, 2) if robust else (2, 1)
    )
    assert report.robust is robust
    assert (report.less_ridge, report.more_ridge) == pytest.approx(
        (ridge / 10, ridge * 10)
    )
    assert ("does not survive" in str(report)) is not robust


def report_of(ranks_at_ridges):
    x, y = data()
    report = compare_teachers(linear_student(), some_logits(), x, y, 1)
    rows = [
        dataclasses.replace(
            report.rows[0], rank=one, rank_less_ridge=less, rank_more_ridge=more
        )
        for one, less, more in zip(*ranks_at_ridges, strict=True)
    ]
    return dataclasses.replace(report, rows=tuple(rows))


def test_agreement_is_kendalls():
    rng = np.random.default_rng(0)
    orders = [1 + rng.integers(0, 8, 12) for _ in range(3)]
    agreement = report_of(orders).agreement
    expected = [kendalltau(orders[0], other).statistic for other in orders[1:]]
    np.testing.assert_allclose(agreement, expected)


def test_robust_needs_the_best_to_stay_and_the_order():
    order = np.arange(1, 11)
    swapped = order.copy()
    swapped[:2] = 2, 1
    late = order.copy()
    late[-2:] = 10, 9
    assert report_of([order, order, late]).robust
    assert not report_of([order, swapped, order]).robust
    assert not report_of([order, order, np.r_[1, order[:0:-1]]]).robust
    tied = np.ones(10, int)
    assert report_of([tied, tied, tied]).robust
    assert not report_of([order, tied, tied]).robust
    assert report_of([[1], [1], [1]]).robust


def test_ranks():
    assert ranks([0.3, 0.1, None, 0.3, 0.2], True) == [1, 4, 5, 1, 3]
    assert ranks([0.3, 0.1, None, 0.3, 0.2], False) == [3, 1, 5, 3, 2]


@pytest.mark.parametrize("criterion", CRITERIA)
def test_every_criterion_ranks(criterion):
    x, y = data()
    teachers = [some_logits(i) + i * np.eye(3)[y] for i in range(3)]
    report = compare_teachers(linear_student(), teachers, x, y, criterion=criterion)
    column = [getattr(row, criterion) for row in report.ranking]
    assert column == sorted(column, reverse=CRITERIA[criterion])
    assert report.best.rank == 1
    assert report.criterion in str(report)


def test_a_teacher_that_says_nothing():
    x, y = data()
    report = compare_teachers(
        linear_student(),
        {"nothing": np.zeros((N, 3)), "something": some_logits()},
        x,
        y,
        1,
        criterion="complexity_per_margin",
    )
    nothing, something = report.rows
    assert nothing.complexity == 0
    assert nothing.complexity_per_margin is nothing.complexity_per_norm is None
    assert nothing.leave_one_out_error is None
    assert (nothing.rank, something.rank) == (2, 1)
    assert TeacherReport.from_json(report.to_json()) == report
    assert str(report)


def test_json_and_back(tmp_path):
    x, y = data()
    file = tmp_path / "report.json"
    for report in (
        compare_teachers(linear_student(), some_logits(), x, y),
        compare_teachers(linear_student(), some_logits(), x, features=20),
    ):
        text = report.to_json(file)
        assert json.loads(file.read_text()) == json.loads(text)
        assert TeacherReport.from_json(file.read_text()) == report
        content = json.loads(text)
        assert content["robust"] == report.robust
        assert content["rows"][0]["bound"]["total"] == report.rows[0].bound_total
        assert content["rows"][0]["bound"]["valid"] is False
    for text in ("", "{}", "[]", "null"):
        with pytest.raises(ValueError, match="`text` must be what"):
            TeacherReport.from_json(text)


def test_to_pandas(monkeypatch):
    class Frame(types.ModuleType):
        DataFrame = list

    monkeypatch.setitem(sys.modules, "pandas", Frame("pandas"))
    x, y = data()
    report = compare_teachers(linear_student(), some_logits(), x, y, (1, 2))
    frame = report.to_pandas()
    assert [row["temperature"] for row in frame] == [1, 2]
    for record, row in zip(frame, report.rows, strict=True):
        assert record["rank"] == row.rank
        assert record["bound_total"] == sum(
            record[f"bound_{term}"] for term in row.bound.terms
        )
        assert not any(isinstance(value, dict | tuple) for value in record.values())


def test_without_pandas(monkeypatch):
    x, y = data()
    report = compare_teachers(linear_student(), some_logits(), x, y)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="needs pandas: `pip install pandas`"):
        report.to_pandas()


def test_printed():
    x, y = data()
    teachers = {f"teacher with a long name {i}": some_logits(i) for i in range(12)}
    report = compare_teachers(linear_student(), teachers, x, y)
    text = str(report)
    assert max(map(len, text.splitlines())) <= 100
    first = next(line for line in text.splitlines() if line.strip().startswith("1 "))
    assert f"{report.best.bound_total:.3g}" in first
    assert "... and 8 more" in text
    assert "a diagnostic, no guarantee" in text
    declared = compare_teachers(
        linear_student(),
        teachers,
        x,
        y,
        kernel_independent=True,
        teacher_independent=True,
        labels_held_out=True,
        delta=0.2,
    )
    assert all(row.bound.valid for row in declared.rows)
    for row in declared.rows:
        assert row.bound.delta == pytest.approx(0.2 / 12)
    assert "all hold with probability 0.8" in str(declared)


def softmax_student():
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "softmax")])


class Hidden(keras.Model):
    """Probabilities, which no layer shows."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(3)

    def call(self, x):
        return keras.ops.softmax(self.dense(x))


def hidden_student():
    model = Hidden()
    model(np.zeros((1, 4), "float32"))
    return model


GOOD = some_logits()
BAD = GOOD.copy()
BAD[3, 1] = np.nan


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"teachers": []}, "`teachers` must hold at least one teacher. Received: "),
        ({"teachers": {}}, "`teachers` must hold at least one teacher. Received: "),
        ({"teachers": ["resnet"]}, "Received: teacher 'teacher 0' of type str"),
        ({"teachers": {"a": GOOD, "b": GOOD[:, :2]}}, "teacher 'b' with shape (60, 2)"),
        ({"teachers": GOOD[:10]}, "teacher 'teacher' with shape (10, 3)"),
        ({"teachers": {"a": BAD}}, "teacher 'a' with 1 of 180 entries that are not"),
        ({"teachers": {"a": GOOD.astype(str)}}, "teacher 'a' with dtype <U"),
        ({"temperatures": ()}, "`temperatures` must be numbers > 0"),
        ({"temperatures": (1, 0)}, "`temperatures` must be a finite number > 0"),
        ({"temperatures": -1}, "Received: temperatures=-1"),
        ({"temperatures": (2, 2)}, "each once. Received: temperatures=(2, 2)"),
        ({"y": np.zeros(59, int)}, "`y` must be of shape (60,)"),
        ({"y": np.full(60, 3)}, "`y` must be integers from 0 to 2"),
        ({"x": np.full((60, 4), np.nan)}, "`x` must be finite"),
        ({"x": np.zeros((1, 4))}, "`x` must hold at least two examples"),
        ({"student": None}, "`student` must be a Keras model. Received: NoneType"),
        ({"student": keras.Sequential([keras.layers.Dense(3)])}, "must be built"),
        ({"student": softmax_student}, "`student` must give logits"),
        ({"student": hidden_student}, "`student` must give logits"),
        ({"criterion": "accuracy"}, "`criterion` must be one of"),
        ({"y": None, "criterion": "teacher_accuracy"}, "needs labels"),
        ({"kind": "soft"}, "`kind` must be one of"),
        ({"teacher_outputs": "softmax"}, "`teacher_outputs` must be one of"),
        ({"held_out": 1.0}, "`held_out` must be a finite number > 0 and < 1"),
        ({"held_out": [1, 1]}, "`held_out` must be a share"),
        ({"held_out": [60]}, "`held_out` must be a share"),
        ({"held_out": np.arange(60)}, "`held_out` must be a share"),
        ({"ridge": 0}, "`ridge` must be a finite number > 0"),
        ({"delta": 2}, "`delta` must be"),
        ({"features": 0}, "`features` must be a positive integer or None"),
        ({"batch_size": -1}, "`batch_size` must be a positive integer or None"),
        ({"kernel": np.eye(60), "features": 9}, "leave out one of"),
        ({"kernel": np.eye(59)}, "`kernel` must be of shape (60, 60)"),
        ({"kernel": np.arange(3600).reshape(60, 60)}, "`kernel` must be symmetric"),
    ],
)
def test_mistakes_are_found_before_the_kernel(change, message, monkeypatch):
    monkeypatch.setattr(MODULE, "empirical_ntk", None)
    monkeypatch.setattr(MODULE, "ntk_features", None)
    x, y = data()
    arguments = {"student": linear_student, "teachers": GOOD, "x": x, "y": y} | change
    if callable(arguments["student"]) and not isinstance(
        arguments["student"], keras.Model
    ):
        arguments["student"] = arguments["student"]()
    with pytest.raises((ValueError, TypeError)) as error:
        compare_teachers(**arguments)
    assert message in str(error.value)


def test_a_model_that_has_diverged_is_named():
    x, y = data()
    model = teacher_model()
    model.layers[0].kernel.assign(np.full((4, 6), np.nan))
    with pytest.raises(ValueError, match=r"weights must be finite.*'b' with NaN"):
        compare_teachers(linear_student(), {"a": GOOD, "b": model}, x, y)
    bias = keras.initializers.Constant(3e38)
    large = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(3, bias_initializer=bias),
            keras.layers.Rescaling(10.0),
        ]
    )
    with pytest.raises(ValueError, match=r"teacher 'b' with 180 of 180 entries"):
        compare_teachers(linear_student(), {"a": GOOD, "b": large}, x, y)
    with pytest.raises(ValueError, match=r"teacher 'b' with shape \(60, 2\)"):
        compare_teachers(linear_student(), {"b": teacher_model(classes=2)}, x, y)


def test_a_missing_checkpoint_is_found_first(tmp_path, monkeypatch):
    monkeypatch.setattr(MODULE, "logits_of_teachers", None)
    x, y = data()
    teacher = teacher_model()
    teacher.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    teacher.fit(x, y, callbacks=[TrajectoryRecorder(tmp_path)], verbose=0)
    trajectory = TeacherTrajectory(tmp_path)
    trajectory[-1].file.unlink()
    with pytest.raises(FileNotFoundError, match="is missing"):
        compare_teachers(linear_student(), trajectory, x, y)
