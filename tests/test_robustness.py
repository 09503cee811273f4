"""The campaign of `benchmarks/robustness.py`, shortened: that it tries and counts."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "benchmarks" / "robustness.py"

pytestmark = [
    pytest.mark.one_backend,
    pytest.mark.skipif(
        keras.backend.backend() != "torch" or not hasattr(os, "fork"),
        reason="The script forks, and runs on the backend that starts fastest.",
    ),
]


def campaign(*arguments, out, **environment):
    return subprocess.run(
        [sys.executable, SCRIPT, "--trials", "1", "--out", out, *arguments],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        check=False,
    )


def test_a_kill_and_a_table(tmp_path):
    out = tmp_path / "out.jsonl"
    kernel = ["--writers", "kernel"]
    table = ["--select", "tests/test_files.py", "-k", "under_the_temporary"]
    done = campaign("--kinds", "kills", "attacks", *kernel, *table, out=out)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| kills | 1 | 1 |" in done.stdout
    assert "| attacks | 12 | 12 |" in done.stdout
    records = [json.loads(line) for line in out.read_text().splitlines()]
    assert [r["kind"] for r in records] == ["kills"] + ["attacks"] * 12


def test_what_is_not_clean_is_counted_and_named(tmp_path):
    (tmp_path / "test_made_up.py").write_text(
        "import pytest\n@pytest.mark.attack\n@pytest.mark.parametrize('i', [1, 2])\n"
        "def test_made_up(i):\n    assert i == 2\n"
    )
    out = tmp_path / "out.jsonl"
    done = campaign("--kinds", "attacks", "--select", str(tmp_path), out=out)
    assert done.returncode == 1
    assert "| attacks | 2 | 1 |" in done.stdout
    assert "test_made_up[1]: failed" in done.stdout
    # What is written down is not counted twice.
    done = campaign("--kinds", "attacks", "--select", str(tmp_path), out=out)
    assert "| attacks | 2 | 1 |" in done.stdout
