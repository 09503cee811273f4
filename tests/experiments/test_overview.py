"""Online beside offline over several studies."""

import numpy as np
import pytest
from made_up_results import record, write
from scipy import stats

from keras_kd.experiments import Overview
from keras_kd.experiments.reports import figures
from keras_kd.experiments.reports.comparison import Difference

pytestmark = pytest.mark.once


def study(folder, name, gains, **values):
    """Online students that are better by `gains` points than offline ones."""
    records = []
    for seed, gain in enumerate(gains):
        offline = 0.5 + seed / 10
        records.append(record("offline", seed, offline, **values))
        records.append(record("online", seed, offline + gain / 100, **values))
    return write(folder / name, [r | {"recipe": name} for r in records])


def test_verdicts_of_studies(tmp_path):
    folders = [
        study(tmp_path, "clean", (0.1, -0.1, 0.05)),
        study(tmp_path, "noisy", (2.0, 2.1, 2.2), label_noise=0.2),
        study(tmp_path, "one_seed", (5.0,)),
        study(tmp_path, "two_seeds", (1.0, 1.0), data="mnist"),
    ]
    text, image = Overview(folders).write(tmp_path / "out")
    lines = text.read_text().splitlines()
    assert "| 4 | online | 1 | 1 | 0 |" in lines
    assert "of 2 comparisons chance alone would give 0.1." in lines[2]
    # Two that agree say nothing of how far apart two can be.
    assert (
        "| mnist | lenet5 | 4 | online | offline | +1.00 ± 0.00 | 2 | too few seeds |"
        in lines
    )
    assert (
        "| digits | lenet5 | 4 | online | offline | +2.10 ± 0.06 | 3 | wins |" in lines
    )
    assert f"![points of test accuracy gained]({image.name})" in lines
    assert image.read_bytes().startswith(b"\x89PNG")


def test_trainings_of_two_studies_count_once(tmp_path):
    gains = (2.0, 2.1, 2.2)
    folders = [study(tmp_path, name, gains) for name in ("noise", "size")]
    text = Overview(folders).markdown()
    assert "| 4 | online | 1 | 0 | 0 |" in text
    assert text.count("+2.10 ± 0.06") == 2


def test_averaged_checkpoints_count_once(tmp_path):
    methods = ("offline", "offline_averaged", "online_averaged")
    records = [record(m, seed, 0.5 + seed / 10) for m in methods for seed in range(3)]
    overview = Overview([write(tmp_path / "run", records)])
    assert len(overview.studies["made_up"]) == 2
    assert "| 4 | online averaged | 0 | 1 | 0 |" in overview.markdown()


def test_figure_of_differences():
    values = (1.0, 2.0, 4.0)
    of = [
        Difference("digits", "lenet5", t, 1, method, "offline", values)
        for t in (1.0, 4.0)
        for method in ("online", "equal_epochs")
    ]
    figure = figures.differences({"a": of[:3], "b": of[3:]})
    first, second = figure.axes
    assert [label.get_text() for label in first.get_yticklabels()] == [
        "a\ndigits, lenet5",
        "b\ndigits, lenet5",
    ]
    interval, error, mean = first.lines[:3]
    expected = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    np.testing.assert_allclose(interval.get_xdata(), expected)
    assert np.ptp(error.get_xdata()) == pytest.approx(2 * stats.sem(values))
    assert mean.get_xdata() == [pytest.approx(7 / 3)]
    # Upper half of its row; the second study's, below.
    assert -0.5 < mean.get_ydata()[0] < 0 < second.lines[5].get_ydata()[0] - 1 < 0.5


@pytest.mark.wrong_input
@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a", "a"), "must be of different studies. Received: two of 'a'"),
        (("alone",), "must hold online and offline students"),
        (("averaged",), "must hold online and offline students"),
        (("nothing",), "No results in"),
    ],
)
def test_what_cannot_be_compared(names, message, tmp_path):
    study(tmp_path, "a", (1.0, 2.0))
    write(tmp_path / "alone", [record("online", 0, 0.5)])
    averaged = [record(m, 0, 0.5) for m in ("offline_averaged", "online_averaged")]
    write(tmp_path / "averaged", averaged)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        Overview([tmp_path / name for name in names])
