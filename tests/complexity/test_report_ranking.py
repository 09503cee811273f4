"""What a report makes of its rows: the ranking, tables, files."""

import dataclasses
import json
import sys
import types

import numpy as np
import pytest
from scipy.stats import kendalltau
from teachers_compared import (
    N,
    data,
    linear_student,
    some_logits,
)

from keras_kd.complexity import compare_teachers
from keras_kd.complexity.ranking.criteria import CRITERIA, criteria_of
from keras_kd.complexity.ranking.report import TeacherReport, ranks
from keras_kd.outputs import categorical

pytestmark = pytest.mark.one_backend


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


def test_agreement_by_counting_pairs():
    rng = np.random.default_rng(1)
    orders = [1 + rng.integers(0, 4, 9) for _ in range(3)]
    expected = []
    for other in orders[1:]:
        one, two = (np.sign(np.subtract.outer(r, r)) for r in (orders[0], other))
        expected.append(np.sum(one * two) / np.sqrt(np.sum(one**2) * np.sum(two**2)))
    np.testing.assert_allclose(report_of(orders).agreement, expected)
    tied, order = np.ones(4, int), np.arange(1, 5)
    assert report_of([tied, tied, order]).agreement == (1.0, 0.0)


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


@pytest.mark.parametrize("criterion", criteria_of(categorical))
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
