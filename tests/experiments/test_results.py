"""Results in files, the choice of learning rates, and what is made of them."""

import json
import math

import numpy as np
import pytest
from made_up_results import record, write
from scipy import stats

from keras_kd.experiments import METHODS, RECIPES, Report
from keras_kd.experiments.mean_and_error import mean_and_standard_error
from keras_kd.experiments.reports import comparison
from keras_kd.experiments.reports.figures import FIGURES
from keras_kd.experiments.studies import results
from keras_kd.experiments.studies.methods import title
from keras_kd.experiments.studies.rates import Rates

pytestmark = pytest.mark.once


def test_what_a_crash_left_of_a_line(tmp_path):
    file = tmp_path / "results.jsonl"
    results.append(file, {"a": 1})
    with file.open("ab") as lines:
        lines.write(b'{"a": 2, "history": [0.1,')
    with pytest.warns(UserWarning, match=r"results.jsonl' has no end and is left out"):
        assert results.read(file) == [{"a": 1}]
    results.append(file, {"a": 3, "loss": [math.nan, math.inf, 0.5]})
    assert results.read(file) == [{"a": 1}, {"a": 3, "loss": [None, None, 0.5]}]
    assert results.read(tmp_path / "nothing") == []


@pytest.mark.damage
def test_a_line_that_is_no_json(tmp_path):
    (tmp_path / "r").write_text('{"a": 1}\nnonsense\n{"a": 2}\n')
    with pytest.raises(
        ValueError, match=r"r' is damaged: line 2 is no JSON .*nonsense.*Delete"
    ):
        results.read(tmp_path / "r")


def test_the_rate_is_chosen_by_validation_of_the_first_seed():
    rates = Rates([0.1, 0.3])
    records = [
        record("none", 0, test=0.9, validation=0.6, rate=0.1, setting="a"),
        record("none", 0, test=0.5, validation=0.7, rate=0.3, setting="a"),
        record("none", 1, test=0.9, validation=0.9, rate=0.1, setting="a"),
        record("none", 0, test=0.5, validation=0.7, rate=0.1, setting="b"),
    ]
    assert rates.chosen(records, "a") == 0.3
    assert rates.left(records, "a") == []
    assert rates.chosen(records, "b") is None
    assert rates.left(records, "b") == [0.3]
    assert Rates([0.2], [1.0]).chosen([], "c") == 0.2
    assert [r["cell"] for r in rates.of_chosen(records)] == ["a/rate-0.3/seed-0"]
    equal = [dict(r, validation_accuracy=0.5) for r in records]
    assert rates.chosen(equal, "a") == 0.1


def test_higher_rates_are_tried_while_the_highest_was_the_best():
    rates = Rates([0.1, 0.3], [1.0, 3.0])

    def tried(**validation):
        return [
            record("none", 0, test=0.5, validation=v, rate=float(r[1:]), setting="a")
            for r, v in validation.items()
        ]

    assert rates.left([], "a") == [0.1, 0.3]
    peak = tried(**{"r0.1": 0.6, "r0.3": 0.6})
    assert rates.left(peak, "a") == []
    assert rates.chosen(peak, "a") == 0.1
    rising = tried(**{"r0.1": 0.6, "r0.3": 0.7})
    assert rates.left(rising, "a") == [1.0]
    assert rates.chosen(rising, "a") is None
    assert rates.of_chosen(rising) == []
    higher = rising + tried(**{"r1.0": 0.8})
    assert rates.left(higher, "a") == [3.0]
    ended = higher + tried(**{"r3.0": 0.2})
    assert rates.left(ended, "a") == []
    assert rates.chosen(ended, "a") == 1.0
    worse = rising + tried(**{"r1.0": 0.5})
    assert rates.left(worse, "a") == []
    assert rates.chosen(worse, "a") == 0.3


def test_mean_and_standard_error():
    values = list(np.random.default_rng(0).normal(size=7))
    mean, error = mean_and_standard_error(values)
    assert mean == pytest.approx(np.mean(values))
    assert error == pytest.approx(stats.sem(values))
    assert mean_and_standard_error([3.0]) == (3.0, None)


def test_report(tmp_path):
    records = [record("teacher", s, a) for s, a in enumerate((0.91, 0.93))]
    records += [record("none", s, a) for s, a in enumerate((0.5, 0.6))]
    records += [record("none", 0, 0.99, validation=0.1, rate=1.0)]
    records += [record("offline", s, a) for s, a in enumerate((0.7, 0.8))]
    records += [record("offline", 0, 0.2, validation=0.1, rate=1.0)]
    records += [record("online", 0, 0.3), record("online", 0, 0.2, 0.1, rate=1.0)]
    folder = write(tmp_path / "run", records)
    report = Report(folder)
    text = report.write(tmp_path / "report")[0].read_text()
    rows = {
        line.split("|")[1].strip(): [c.strip() for c in line.split("|")[2:-1]]
        for line in text.splitlines()
        if line.startswith("| ")
    }
    assert rows["*teacher*, lenet5"] == ["", "0.1", "92.0 ± 1.0", "", ""]
    # Of rate 0.1, though 1.0 was better on test images.
    assert rows["no distillation"][:3] == ["", "0.1", "55.0 ± 5.0"]
    assert rows["offline"] == [
        "4",
        "0.1",
        "**75.0 ± 5.0**",
        "37.5 ± 2.5",
        "0.250 ± 0.017",
    ]
    assert rows["online"][2] == "30.0 (1 of 2 seeds)"
    assert "- online: the nearest later checkpoint" in text
    assert "with a recipe of its own" in text
    assert "Commits: 012345678.\n" in text
    assert "\n6 minutes of training with jax 0, Keras 3, keras_kd 1, Python" in text
    assert "from 0.1, 1 on validation images" in text
    (table,) = report.terminal()
    assert table.row_count == 4


def test_the_command_of_a_report(tmp_path):
    made = [dict(record("none", 0, 0.5), recipe="digits")]
    folder = write(tmp_path / "run", made)
    plain = "\n`KERAS_BACKEND=jax keras-kd run digits --seeds 1`\n"
    assert plain in Report(folder).markdown()
    settings = {
        "epochs": "7",
        "students": "resnet8,lenet5:0.5",
        "temperatures": "2",
        "assistant": "lenet5:4",
    }
    recipe = RECIPES["digits"].with_settings(settings)
    (folder / results.RECIPE).write_text(json.dumps(recipe.identity))
    command = Report(folder).markdown().splitlines()[2].strip("`").split()
    assert command[:4] == ["KERAS_BACKEND=jax", "keras-kd", "run", "digits"]
    # What it says gives the same recipe again.
    said = dict(word.split("=") for word in command if "=" in word[1:-1])
    del said["KERAS_BACKEND"]
    assert said == settings
    assert RECIPES["digits"].with_settings(said) == recipe
    data = RECIPES["digits"].with_settings({"data.n_train": "7"})
    (folder / results.RECIPE).write_text(json.dumps(data.identity))
    assert '`, with `data` = [{"name": "digits", "n_train": 7' in (
        Report(folder).markdown()
    )


def test_what_has_not_begun(tmp_path):
    changes = {"methods": "none,online", "learning_rates": "0.1"}
    recipe = RECIPES["digits"].with_settings(changes)
    settings = [c.setting for c in recipe.settings(recipe.data[0], recipe.students[0])]
    made = [record("none", 0, 0.5, setting=settings[0])]
    folder = write(tmp_path / "run", made)
    (folder / results.RECIPE).write_text(json.dumps(recipe.identity))
    report = Report(folder)
    assert (report.unfinished, report.not_begun) == ([], settings[1:])
    said = f"Not begun: {settings[1]}, {settings[2]}."
    assert said in report.markdown()
    assert report.terminal()[-1].caption == said
    # Where nothing has ended, too.
    (folder / results.RESULTS).write_text("")
    write(folder, [record("teacher", 0, 0.9)])
    assert settings[0] in Report(folder).terminal()[-1].caption
    # Of a recipe that this release does not know, the results are told.
    for unknown in ({}, {**recipe.identity, "new": 1}, {"methods": ["new"]}):
        (folder / results.RECIPE).write_text(json.dumps(unknown))
        assert Report(folder).not_begun == []


def test_what_has_not_ended(tmp_path):
    made = [record("online", s, 0.5) for s in (0, 1)]
    made += [record("offline", 0, 0.9), record("none", 0, 0.99)]
    rates = {"learning_rates": "0.1,0.3", "higher_learning_rates": ""}
    recipe = RECIPES["digits"].with_settings(rates).identity
    made += [
        dict(r, learning_rate=0.3, cell=f"{r['cell']} at 0.3")
        for r in made
        if r["method"] != "none"
    ]
    folder = write(tmp_path / "run", made)
    (folder / results.RECIPE).write_text(json.dumps(recipe))
    report = Report(folder)
    (setting,) = report.unfinished
    assert setting.startswith("none")
    assert setting in report.markdown()
    assert setting in report.terminal()[-1].caption
    ((_, _, rows),) = report.tables()
    # In the order of the methods; the best of those that have all seeds.
    assert [(name, cells[2]) for name, cells in rows] == [
        ("offline", "90.0 (1 of 2 seeds)"),
        ("online", "**50.0 ± 0.0**"),
    ]


def test_online_against_offline(tmp_path):
    rng = np.random.default_rng(0)
    offline, gain = rng.uniform(0.5, 0.9, 4), rng.uniform(0.01, 0.03, 4)
    records = [record("offline", s, a) for s, a in enumerate(offline)]
    records += [record("online", s, a) for s, a in enumerate(offline + gain)]
    records += [record("online_hold", s, offline[s] - gain[s]) for s in (0, 1, 3)]
    records += [record("equal_epochs", s, offline[s] + (-0.1) ** s) for s in range(4)]
    # Without an offline student at its temperature.
    records += [record("online", 0, 0.9, temperature=1.0)]
    records += [record("offline_averaged", 2, 0.5), record("online_averaged", 2, 0.6)]
    found = {
        (d.method, d.baseline): d for d in comparison.online_against_offline(records)
    }
    assert list(found) == [
        ("online", "offline"),
        ("online_hold", "offline"),
        ("equal_epochs", "offline"),
        ("online_averaged", "offline"),
        ("online_averaged", "offline_averaged"),
    ]
    online = found["online", "offline"]
    assert online.mean == pytest.approx(100 * gain.mean())
    assert online.error == pytest.approx(100 * stats.sem(gain))
    for difference in found.values():
        if len(difference.values) > 1:
            low, high = stats.t.interval(
                0.95, len(difference.values) - 1, difference.mean, difference.error
            )
            verdict = "wins" if low > 0 else "loses" if high < 0 else "ties"
            assert difference.verdict == verdict
    verdicts = {method: d.verdict for (method, _), d in found.items()}
    assert verdicts == {
        "online": "wins",
        "online_hold": "loses",
        "equal_epochs": "ties",
        "online_averaged": "too few seeds",
    }
    text = Report(write(tmp_path / "run", records)).markdown()
    assert (
        f"| digits | lenet5 | 4 | online | offline | {online.mean:+.2f} ± "
        f"{online.error:.2f} | 4 | wins |"
    ) in text


def test_a_report_of_nothing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"No results in .*keras-kd run"):
        Report(tmp_path)


def lines_of(figure):
    (ax,) = figure.axes
    return {c.get_label(): c.lines[0].get_xydata().tolist() for c in ax.containers}


def test_figure_of_gains():
    records = [
        record(method, seed, 0.5 + seed / 10 + plus, n_train=n)
        for n in (100, 200, 400)
        for seed in (0, 1)
        for method, plus in (("offline", 0), ("online", n / 10_000))
    ]
    figure = FIGURES["gain"](records)
    (line,) = lines_of(figure).values()
    np.testing.assert_allclose(line, [[100, 1], [200, 2], [400, 4]])
    assert FIGURES["gain"](records[:4]) is None
    # Two students: each beside its own.
    smaller = [
        r | {"student": "small", "test_accuracy": r["test_accuracy"] - 0.3}
        for r in records
        if r["method"] == "offline" or r["n_train"] != 200
    ]
    lines = lines_of(FIGURES["gain"](records + smaller))
    np.testing.assert_allclose(lines["lenet5, online, T = 4"], line)
    np.testing.assert_allclose(lines["small, online, T = 4"], [line[0], line[2]])


def test_figure_of_spacings():
    records = [record("offline", 0, 0.7)]
    records += [
        record("online", seed, 0.5 + spacing / 100 + seed / 10, spacing=spacing)
        for spacing in (1, 5)
        for seed in (0, 1)
    ]
    lines = lines_of(FIGURES["spacing"](records))
    np.testing.assert_allclose(lines["online, T = 4"], [[1, 56], [5, 60]])
    assert FIGURES["spacing"](records[:1]) is None


def test_figure_of_agreement():
    records = [
        record(method, 0, (50 + i) / 100, fidelity=0.25) | {"ntk_similarity": 0.9 - i}
        for i, method in enumerate(METHODS)
    ]
    figure = FIGURES["agreement"](records)
    first, second = figure.axes
    points = [line.get_xydata().tolist() for line in first.lines]
    assert points == [[[25, pytest.approx(50 + i)]] for i in range(len(METHODS))]
    np.testing.assert_allclose(second.lines[1].get_xydata(), [[-0.1, 51]])
    assert (first.get_title(), second.get_title()[-5:]) == ("", "-1.00")
    assert len({line.get_marker() for line in first.lines}) == len(METHODS)
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == [title(method) for method in METHODS]
    # Two temperatures are told apart by what fills the marker.
    figure = FIGURES["agreement"](
        records + [r | {"temperature": 1.0} for r in records if r["temperature"]]
    )
    drawn = {
        (line.get_marker(), line.get_fillstyle(), line.get_color())
        for line in figure.axes[0].lines
    }
    assert len(drawn) == len(figure.axes[0].lines)
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == [*(title(method) for method in METHODS), "T = 1", "T = 4"]
    handles = figure.legends[0].legend_handles
    assert len({h.get_marker() for h in handles[:-2]}) == len(METHODS)
    assert [h.get_facecolor()[3] for h in handles[-2:]] == [0, 1]
    assert FIGURES["agreement"](records[:2]) is None


def test_figure_of_complexity():
    history = {"loss": [1.0, 2.0], "complexity_labels": [3.0, None]}
    figure = FIGURES["complexity"]([record("online", 0, 0.5, history=history)])
    (ax,) = figure.axes
    np.testing.assert_equal(ax.lines[0].get_ydata(), [3.0, np.nan])
    assert not ax.collections
    # Of several seeds the mean, and the standard error of it around.
    records = [
        record("online", seed, 0.5)
        | {"history": {"complexity_labels": [seed, 1 + seed]}}
        for seed in (0, 1, 5)
    ]
    (ax,) = FIGURES["complexity"](records).axes
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [2, 3])
    error = np.std([0, 1, 5], ddof=1) / np.sqrt(3)
    corners = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert (corners.min(), corners.max()) == pytest.approx((2 - error, 3 + error))
    assert FIGURES["complexity"]([record("online", 0, 0.5)]) is None


def test_results_are_json_for_anyone(tmp_path):
    file = tmp_path / "r"
    results.append(file, {"x": float("nan")})
    held = json.loads(file.read_text(), parse_constant=pytest.fail)
    assert held == {"x": None, "sha256": held["sha256"]}
