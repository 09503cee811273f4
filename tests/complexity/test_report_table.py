"""How many digits a report shows, and what it says that they do not tell apart."""

import dataclasses
import html.parser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import pyplot
from test_plots import a_bound, a_report

from keras_kd.complexity.ranking.criteria import CRITERIA
from keras_kd.complexity.ranking.digits import readings
from keras_kd.complexity.ranking.report import TeacherReport, ranks
from keras_kd.complexity.ranking.table import _HEADINGS, what_reads_the_same

pytestmark = pytest.mark.once


@pytest.fixture(autouse=True)
def no_window():
    pyplot.switch_backend("Agg")
    yield
    pyplot.close("all")


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([1.2764683, 1.2764685, 1.2795205], ["1.276", "1.276", "1.280"]),
        ([1.2761, 1.2764, 1.2790], ["1.2761", "1.2764", "1.2790"]),
        # No difference comes of rounding alone.
        ([1.276498, 1.276502, 1.28], ["1.2765", "1.2765", "1.2800"]),
        ([0.5, 0.25], ["0.500", "0.250"]),
        ([1.0, 0.984, 0.98, None], ["1.000", "0.984", "0.980", ""]),
        ([1.0, 0.938], ["1.000", "0.938"]),
        ([2.0, 2.0], ["2.00", "2.00"]),
        ([100.0, 99.96], ["100.00", "99.96"]),
        ([1234.4, 1234.1], ["1234.4", "1234.1"]),
        # What is far smaller than the largest is told apart as well.
        ([120.0, 0.0012, 0.0013], ["120", "0.0012", "0.0013"]),
        ([2e-7, 3e-7], ["2e-07", "3e-07"]),
        ([0.0, 0.0], ["0", "0"]),
        ([-1.5, 1.5], ["-1.50", "1.50"]),
        ([None, None], ["", ""]),
        ([], []),
    ],
)
def test_readings(values, texts):
    assert readings(values) == texts


def test_fewer_digits_tell_less():
    values = [1.2761, 1.2764, 1.279]
    assert readings(values) == ["1.2761", "1.2764", "1.2790"]
    assert readings(values, most=4) == ["1.276", "1.276", "1.279"]
    assert readings(values, most=3) == ["1.28", "1.28", "1.28"]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.floats(1e-12, 1e12), min_size=1, max_size=12))
def test_what_differs_reads_differently(values):
    texts = readings(values)
    for i, one in enumerate(values):
        assert abs(float(texts[i]) - one) <= 0.006 * max(values)
        for j, other in enumerate(values[:i]):
            if abs(one - other) > 1e-4 * max(one, other):
                assert texts[i] != texts[j]
            if one == other:
                assert texts[i] == texts[j]
    digits = [text.partition("e")[0].replace(".", "").strip("0-") for text in texts]
    assert max(map(len, digits)) <= 5 or max(values) >= 1e5


def test_rounding_makes_no_rank():
    noise = 1 + 1e-13 * np.arange(5)
    assert ranks([*noise, 0.5], False) == [2, 2, 2, 2, 2, 1]
    assert ranks([1 + 1e-7, 1.0], False) == [2, 1]


def ranked(values, criterion="complexity"):
    """A report with these values, in this order."""
    report = a_report(len(values), (1.0,), criterion)
    rows = [
        dataclasses.replace(row, **{criterion: value}, rank=rank)
        for row, value, rank in zip(
            report.rows, values, ranks(values, CRITERIA[criterion]), strict=True
        )
    ]
    return dataclasses.replace(report, rows=tuple(rows))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([1.0, 2.0, 3.0], None),
        ([1.0], None),
        ([1.0, 1.000001, 2.0], "cannot be told apart: 1 to 2."),
        ([1.0, 1.0, 2.0, 3.0, 3.00001], "cannot be told apart: 1 (2 rows), 4 to 5."),
        ([3.0, 1.0, 1.000001, 3.00001], "cannot be told apart: 1 to 2, 3 to 4."),
        (np.repeat(np.arange(1.0, 6), 2), "7 (2 rows), and others further down."),
        ([1.29] * 40, "By complexity no two rows can be told apart: all read 1.29."),
        ([1.29, 1.290001], "no two rows can be told apart: all read 1.29."),
    ],
)
def test_what_cannot_be_told_apart_is_said(values, said):
    report = ranked([float(value) for value in values])
    found = what_reads_the_same(report.ranking, "complexity")
    if said is None:
        assert found is None
        assert "told apart" not in str(report)
    else:
        assert found.endswith(said)
        assert said.split()[-1] in str(report)


def test_the_table_shows_what_differs():
    values = 1.29 + 0.0004 * np.arange(12)
    text = str(ranked(list(values)))
    for value in values:
        assert f"{value:.4f}" in text
    assert max(map(len, text.splitlines())) <= 100


def test_only_what_is_there_has_a_column():
    report = a_report()
    text = str(report)
    assert "teacher" in text
    assert "None" not in text
    # No accuracy of the teacher is known.
    assert text.count("acc.") == 1
    of_labels = dataclasses.replace(report, output_kind="bernoulli", outputs=3)
    assert "label" in str(of_labels)
    assert "One held-out example is 0.033 of accuracy" in text
    assert "shares of labels: one is 0.011." in str(of_labels)
    one = dataclasses.replace(report, output_kind="bernoulli", outputs=1)
    assert str(one) == text
    assert set(_HEADINGS) == set(CRITERIA)


class Cells(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.rows, self.open = [], []

    def handle_starttag(self, tag, attrs):
        if tag != "br":
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def test_in_a_notebook():
    report = a_report(50)
    named = dataclasses.replace(report.rows[0], teacher="<b>a & b</b>", rank=-1)
    report = dataclasses.replace(report, rows=(named, *report.rows[1:]))
    cells = Cells()
    cells.feed(report._repr_html_())
    assert cells.open == []
    assert len(cells.rows) == 41
    assert {len(row) for row in cells.rows} == {11}
    assert cells.rows[0][:4] == ["rank", "teacher", "step", "temp."]
    assert "complexity" in cells.rows[0]
    assert cells.rows[1][1] == "<b>a & b</b>"
    assert "... and 110 more" in report._repr_html_()
    # A name is no markup of the table's either.
    assert "<b>a & b</b>" in str(report)
    named = dataclasses.replace(named, teacher="[bold]a[/bold]")
    assert "[bold]a" in str(dataclasses.replace(report, rows=(named,)))


def test_a_report_is_short():
    report = a_report()
    best = report.best
    assert repr(report) == (
        "<TeacherReport for student 'student': 9 rows, best by heldout_accuracy: "
        f"'{best.label}' at temperature {best.temperature:g}>"
    )
    values = dataclasses.replace(report, rows=report.rows[:1], output_kind="continuous")
    assert repr(values).startswith("<TeacherReport for student 'student': 1 row, best")
    assert "temperature" not in repr(values)


def texts_of(ax):
    return [text.get_text() for text in ax.texts]


def test_a_heat_map_shows_what_differs():
    ax = ranked([1.2900, 1.2904, 1.2908, 1.2908]).plot()
    assert texts_of(ax) == ["1.2900", "1.2904", "1.2908", "1.2908"]
    # Two frames, a white one in a black one, around the best.
    assert len(ax.patches) == 2
    assert "told apart" not in ax.get_title()


def test_a_heat_map_frames_all_that_reads_as_the_best():
    ax = ranked([1.276468, 1.276469, 1.2795, 1.276471]).plot()
    assert texts_of(ax) == ["1.276", "1.276", "1.280", "1.276"]
    assert len(ax.patches) == 6
    assert {round(patch.get_y() + 0.42) for patch in ax.patches} == {0, 1, 3}
    assert "the best 3 read the same: they cannot be told apart" in ax.get_title()


def test_a_heat_map_of_one_reading_is_one_grey():
    report = ranked([1.29, 1.29 + 1e-9, 1.29 - 1e-9])
    ax = report.plot()
    (image,) = ax.get_images()
    greys = image.cmap(image.norm(image.get_array()))[..., 0]
    assert np.ptp(greys) < 1e-6
    assert 0.2 < greys.mean() < 0.8
    assert texts_of(ax) == ["1.29"] * 3
    assert len(ax.patches) == 0
    assert ax.get_title() == (
        "Student student\nall 3 read the same: they cannot be told apart"
    )
    assert [t.get_text() for t in image.colorbar.ax.get_yticklabels()] == ["1.29"]


def test_files_of_earlier_releases_are_of_classes():
    report = a_report()
    new = report.to_json()
    old = new.replace(' "output_kind": "categorical",\n', "").replace(
        ' "outputs": null,\n', ""
    )
    for name in ("heldout_error", "teacher_error"):
        old = old.replace(f',\n   "{name}": null', "")
    assert len(old) < len(new)
    assert "heldout_error" not in old
    assert "output_kind" not in old
    assert TeacherReport.from_json(old) == report


def test_bounds_of_labels_come_back():
    bound = a_bound(1)
    of_labels = dataclasses.replace(bound, gamma=None, labels=(bound, a_bound(2)))
    report = a_report(1, (1.0,))
    rows = (dataclasses.replace(report.rows[0], bound=of_labels),)
    report = dataclasses.replace(report, rows=rows, output_kind="bernoulli")
    assert TeacherReport.from_json(report.to_json()) == report
