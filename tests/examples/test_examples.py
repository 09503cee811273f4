"""The examples run, with fewer epochs, and say what they promise."""

import re
import runpy
from pathlib import Path

import keras
import pytest

pytestmark = pytest.mark.one_backend

EXAMPLES = Path(__file__).parents[2] / "examples"
SMALLER = {
    "EPOCHS": "2",
    "N": "16",
    "WIDTHS": '{"small": 0.5, "large": 1}',
    "TEMPERATURES": "(1,)",
}
PROMISES = {
    "offline": [r"student on labels: \d", r"distilled: .*%, fidelity .*%"],
    "online": [r"teacher_checkpoint: 1\.", r"student, online: \d.*, fidelity"],
    "together": [r"teacher: \d", r"student, together: \d.*, fidelity"],
    "cached": [r"2 checkpoints of .*MB", r"large, online: \d", r"the mean of all.*%"],
    "application_ntk": [r"\(16, 16\)", r"initialisation: 0\.\d", r"difference: \d.*e-"],
    "choose_teacher": [r"student of .* at T = 1: \d"],
}
# These go through most of what the others do.
ON_EACH_BACKEND = ("online", "cached")


def test_all_are_here_and_in_the_readme():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(PROMISES)
    readme = (EXAMPLES / "README.md").read_text()
    assert all(f"({name}.py)" in readme for name in PROMISES)


@pytest.mark.parametrize("name", PROMISES)
def test_example(name, tmp_path, monkeypatch, capsys):
    if name not in ON_EACH_BACKEND and keras.backend.backend() != "torch":
        pytest.skip("Compilation takes minutes, and other tests train the same way.")
    source = (EXAMPLES / f"{name}.py").read_text()
    assert f"python examples/{name}.py" in source
    for constant, value in SMALLER.items():
        source = re.sub(rf"(?m)^{constant} = .*$", f"{constant} = {value}", source)
    script = tmp_path / f"{name}.py"
    script.write_text(source)
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(script), run_name="__main__")
    printed = capsys.readouterr().out
    for promise in PROMISES[name]:
        assert re.search(promise, printed), printed
    # Figures and folders go elsewhere.
    assert list(tmp_path.iterdir()) == [script]
