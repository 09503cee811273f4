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


def test_what_is_tried_is_counted_and_named(tmp_path):
    """A kill of the quickest writer, and a table of one failure."""
    (tmp_path / "test_made_up.py").write_text(
        "import pytest\n@pytest.mark.attack\n@pytest.mark.parametrize('i', [1, 2])\n"
        "def test_made_up(i):\n    assert i == 2\n"
    )
    out = tmp_path / "out.jsonl"
    kinds = ["--kinds", "kills", "attacks", "--trials", "1", "--writers", "kernel"]
    done = subprocess.run(
        [sys.executable, SCRIPT, *kinds, "--out", out, "--select", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "| kills | 1 | 1 |" in done.stdout
    assert "| attacks | 2 | 1 |" in done.stdout
    assert "test_made_up[1]: failed" in done.stdout
    records = [json.loads(line) for line in out.read_text().splitlines()]
    assert [r["clean"] for r in records] == [True, False, True]
