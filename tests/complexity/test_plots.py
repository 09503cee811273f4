"""What the figures show, that nothing is cut, and that no colour is needed."""

import functools

import numpy as np
import pytest
from matplotlib import colors, pyplot
from matplotlib.figure import Figure

from keras_kd import plots
from keras_kd.complexity.eigenvalues import Spectrum, spectrum
from keras_kd.complexity.margin_bound import bound_terms
from keras_kd.complexity.ranking.report import (
    _COLUMNS,
    CRITERIA,
    TeacherReport,
    TeacherRow,
)

pytestmark = pytest.mark.once


@pytest.fixture(autouse=True)
def no_window():
    pyplot.switch_backend("Agg")
    yield
    pyplot.close("all")


@functools.cache
def a_bound(seed, wrong=True, reasons=()):
    rng = np.random.default_rng(seed)
    return bound_terms(
        rng.uniform(0, 1, 20_000),
        radius=1 + seed,
        trace=20_000.0,
        teacher_wrong=rng.uniform(size=20_000) < 0.1 if wrong else None,
        reasons=reasons,
    )


def a_report(rows=3, temperatures=(1.0, 2.0, 4.0), criterion="heldout_accuracy"):
    table = np.random.default_rng(0).uniform(0.4, 0.9, (rows, len(temperatures)))
    return TeacherReport(
        rows=tuple(
            TeacherRow(
                teacher="a teacher with a long name",
                step=100 * i,
                temperature=t,
                teacher_accuracy=None,
                complexity=10 * table[i, j],
                complexity_per_margin=None if i == j == 0 else table[i, j],
                complexity_per_norm=table[i, j],
                heldout_accuracy=table[i, j],
                heldout_fidelity=table[i, j],
                leave_one_out_error=table[i, j],
                bound=a_bound(i),
            )
            for i in range(rows)
            for j, t in enumerate(temperatures)
        ),
        student="student",
        criterion=criterion,
        kind="probabilities",
        n=100,
        n_heldout=30,
        ridge=0.1,
        less_ridge=0.01,
        more_ridge=1.0,
        condition_number=10.0,
        residual=1e-12,
    )


LINES = {f"targets {i}": np.arange(1, 6) * (i + 1.0) for i in range(6)}
FIGURES = {
    "complexity": lambda ax: plots.plot_complexity(LINES, ax=ax),
    "spectrum": lambda ax: plots.plot_spectrum(
        spectrum(np.diag([4.0, 2.0, 1.0]), np.eye(3)), ax
    ),
    "spectrum.plot": lambda ax: spectrum(np.eye(3), np.ones(3)).plot(ax),
    "margins": lambda ax: plots.plot_margins(LINES, ax),
    "bound": lambda ax: plots.plot_bound(
        {f"a teacher with a long name {i}": a_bound(i) for i in range(4)}, ax
    ),
    "report": lambda ax: plots.plot_report(a_report(), ax=ax),
    "large report": lambda ax: plots.plot_report(a_report(90), ax=ax),
    "report.plot": lambda ax: a_report().plot("complexity", ax),
}


@pytest.mark.parametrize("figure", FIGURES)
def test_axes_are_taken_and_returned(figure):
    ax = Figure().subplots()
    assert FIGURES[figure](ax) is ax
    assert not pyplot.get_fignums()
    assert FIGURES[figure](None) is not ax
    assert len(pyplot.get_fignums()) == 1


@pytest.mark.parametrize("figure", FIGURES)
def test_nothing_is_cut(figure):
    drawn = FIGURES[figure](None).figure
    drawn.canvas.draw()
    box = drawn.get_tightbbox(drawn.canvas.get_renderer())
    width, height = drawn.get_size_inches()
    slack = 0.01
    assert box.x0 > -slack
    assert box.y0 > -slack
    assert box.x1 < width + slack
    assert box.y1 < height + slack


@pytest.mark.parametrize("figure", FIGURES)
def test_no_colour_is_needed(figure):
    canvas = FIGURES[figure](None).figure.canvas
    canvas.draw()
    red, green, blue, _ = np.moveaxis(np.asarray(canvas.buffer_rgba()), -1, 0)
    np.testing.assert_array_equal(red, green)
    np.testing.assert_array_equal(red, blue)


def test_lines_are_told_apart_without_colour():
    lines = plots.plot_complexity(LINES).get_lines()
    assert len({(line.get_linestyle(), line.get_marker()) for line in lines}) == 6
    lines = plots.plot_margins(LINES).get_lines()[:6]
    assert len({(line.get_color(), str(line._dash_pattern)) for line in lines}) == 6


def test_complexity_over_epochs():
    ax = plots.plot_complexity(LINES)
    for line, (name, values) in zip(ax.get_lines(), LINES.items(), strict=True):
        assert line.get_label() == name
        np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3, 4, 5])
        np.testing.assert_array_equal(line.get_ydata(), values)
    ax = plots.plot_complexity({"labels": [3.0, 2.0]}, epochs=[10, 20])
    np.testing.assert_array_equal(ax.get_lines()[0].get_xdata(), [10, 20])


def test_runs_are_plain_lists(tmp_path, monkeypatch):
    drawn = {}

    def curve(axes, method, values):
        drawn[axes.get_subplotspec().colspan.start, method] = values
        real(axes, method, values)

    real = plots._curve
    monkeypatch.setattr(plots, "_curve", curve)
    histories = {
        "teacher": [{"val_accuracy": [0.5, 0.75]}],
        "online": [
            {"val_accuracy": [0.25, 0.5], "val_fidelity": [0.5, 1.0]},
            {"val_accuracy": [0.75, 1.0], "val_fidelity": [0.0, 1.0]},
        ],
    }
    plots.plot_runs(histories, tmp_path / "curves.png", "title")
    assert (tmp_path / "curves.png").stat().st_size > 1000
    expected = {
        (0, "teacher"): [[0.5, 0.75]],
        (0, "online"): [[0.25, 0.5], [0.75, 1.0]],
        (1, "online"): [[0.5, 1.0], [0.0, 1.0]],
    }
    assert {place: values.tolist() for place, values in drawn.items()} == expected


def test_runs_are_means_and_their_errors():
    axes = Figure().subplots()
    values = np.array([[0.25, 0.5], [0.75, 1.0], [0.5, 0.6]])
    plots._curve(axes, "online", values)
    np.testing.assert_allclose(axes.get_lines()[0].get_ydata(), 100 * values.mean(0))
    (band,) = axes.collections
    heights = band.get_paths()[0].get_extents()
    errors = 100 * values.std(0, ddof=1) / np.sqrt(3)
    assert heights.y0 == pytest.approx(50 - errors[0])
    assert heights.y1 == pytest.approx(70 + errors[1])


def test_spectrum():
    # The targets lie along the second direction; the third is noise.
    found = Spectrum(np.array([4.0, 1.0, -1e-16]), np.array([[1.0], [3.0], [0.0]]))
    ax = plots.plot_spectrum(found)
    np.testing.assert_array_equal(ax.get_lines()[0].get_ydata(), [4, 1, np.nan])
    (right,) = (other for other in ax.figure.axes if other is not ax)
    np.testing.assert_allclose(right.get_lines()[0].get_ydata(), [0.25, 1, 1])


def test_spectrum_of_a_kernel_an_output():
    found = Spectrum(np.array([[4.0, 3.0], [1.0, 2.0]]), np.array([[1.0, 2], [3, 4]]))
    ax = plots.plot_spectrum(found)
    np.testing.assert_array_equal(ax.get_lines()[0].get_ydata(), [4, 3, 2, 1])
    (right,) = (other for other in ax.figure.axes if other is not ax)
    np.testing.assert_allclose(right.get_lines()[0].get_ydata(), [0.1, 0.3, 0.7, 1])


def test_margins_are_a_distribution():
    values = np.array([0.5, -1.0, 2.0, 0.5])
    line = plots.plot_margins({"one": values}).get_lines()[0]
    x, share = line.get_data()
    for at in (-1.5, -1.0, 0.0, 0.5, 3.0):
        shown = share[x <= at].max(initial=0)
        assert shown == pytest.approx(np.mean(values <= at))


def test_bars_are_the_terms():
    bounds = {
        "a": a_bound(0),
        "b": a_bound(2, reasons=("seen",)),
        "c": a_bound(3, wrong=False),
    }
    ax = plots.plot_bound(bounds)
    for place, bound in enumerate(bounds.values()):
        bars = [
            bar for container in ax.containers for bar in [container.patches[place]]
        ]
        widths = [bar.get_width() for bar in bars if bar.get_width() > 0]
        np.testing.assert_allclose(widths, [*bound.terms.values()])
        ends = np.cumsum(widths)
        starts = [bar.get_x() for bar in bars if bar.get_width() > 0]
        np.testing.assert_allclose(starts, ends - widths, atol=1e-12)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b *", "c"]
    assert ax.get_xlabel() == "bound on the error and disagreement\n(*: no guarantee)"
    hatches = {(c.patches[0].get_hatch(), c.patches[0].get_fc()) for c in ax.containers}
    assert len(hatches) == 5


@pytest.mark.parametrize(
    ("column", "best"),
    [(None, np.max), ("complexity", np.min), ("complexity_per_margin", np.nanmin)],
)
def test_report(column, best):
    report = a_report()
    ax = plots.plot_report(report, column)
    (image,) = ax.get_images()
    table = np.array(
        [
            np.nan if v is None else v
            for v in (getattr(row, column or report.criterion) for row in report.rows)
        ]
    ).reshape(3, 3)
    np.testing.assert_allclose(np.ma.filled(image.get_array(), np.nan), table)
    y, x = np.argwhere(table == best(table))[0]
    for frame in ax.patches:
        assert frame.get_x() < x < frame.get_x() + frame.get_width()
        assert frame.get_y() < y < frame.get_y() + frame.get_height()
    # The best is the darkest.
    assert image.cmap(image.norm(table[y, x]))[0] < 0.05
    texts = [text.get_text() for text in ax.texts]
    shown = [text for text in texts if text != "none"]
    np.testing.assert_array_equal([t == "none" for t in texts], np.isnan(table.ravel()))
    known = table[~np.isnan(table)]
    np.testing.assert_allclose(np.array(shown, float), known, rtol=1e-2)
    # Of one precision, and as different as the numbers.
    assert len({len(text.partition(".")[2]) for text in shown}) == 1
    assert len(set(shown)) == len(known)
    for text, value in zip(ax.texts, table.ravel(), strict=True):
        if not np.isnan(value):
            ground = image.cmap(image.norm(value))[0]
            assert abs(colors.to_rgb(text.get_color())[0] - ground) >= 0.5
    assert [t.get_text() for t in ax.get_xticklabels()] == ["1", "2", "4"]
    assert ax.get_yticklabels()[1].get_text() == "a teacher with a long name, step 100"


@pytest.mark.wrong_input
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plots.plot_complexity({}), "`values` must be sequences"),
        (lambda: plots.plot_complexity({"a": [1], "b": [1, 2]}), "`values` must be"),
        (lambda: plots.plot_complexity({"a": [1.0]}, [1, 2]), "2 epochs"),
        (lambda: plots.plot_complexity({"a": [1.0]}, errors={}), "`errors` must be"),
        (lambda: plots.plot_margins({}), "`margins` must be arrays"),
        (lambda: plots.plot_margins({"a": []}), "`margins` must be arrays"),
        (lambda: plots.plot_bound({}), "`bounds` must hold at least one"),
        (lambda: plots.plot_bound(3), "`bounds` must hold.* Received: bounds=3"),
        (lambda: plots.plot_complexity(None), "`values` must be a dict of names"),
        (lambda: plots.plot_complexity({"a": "x"}), r"`values\['a'\]` must be a seq"),
        (lambda: plots.plot_complexity({"a": [1.0]}, ax=3), "`ax` must be an object"),
        (lambda: plots.plot_margins(None), "`margins` must be a dict of names"),
        (lambda: plots.plot_margins({"a": "x"}), r"`margins\['a'\]` must be a seq"),
        (lambda: plots.plot_eigenvalues(None, None), r"shapes \(\) and \(\)"),
        (lambda: plots.plot_eigenvalues([1, 2], [1]), r"shapes \(2,\) and \(1,\)"),
        (lambda: plots.plot_spectrum(3), "`spectrum` must be an object with eigen"),
        (lambda: plots.plot_report(3), "`report` must be an object with plot"),
        (
            lambda: plots.plot_heat_map(np.ones((2, 2)), ["a"], ["b"], "l"),
            r"1 `rows` and 1 `columns`. Received: shape \(2, 2\)",
        ),
        (lambda: plots.plot_runs({}, "a.png", "t"), "`histories` must be lists"),
        (lambda: plots.plot_report(a_report(), "rank"), "`column` must be one of"),
        (
            lambda: plots.plot_report(a_report(), "teacher_accuracy"),
            "`column` must be one that was measured",
        ),
    ],
)
def test_mistakes(call, message):
    with pytest.raises(ValueError, match=message):
        call()
    assert not pyplot.get_fignums()


def test_every_criterion_has_a_name():
    assert set(_COLUMNS) == set(CRITERIA)


@pytest.mark.parametrize(
    ("other", "scale"), [([2.0, 3.0], "linear"), ([200.0, 300.0], "log")]
)
def test_curves_of_very_different_size_are_both_seen(other, scale):
    axes = plots.plot_complexity({"a": [1.0, 2.0], "b": other})
    assert axes.get_yscale() == scale
