"""Tables that are tests already: each row of a marker is a trial."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
_LINE = re.compile(r"(\S+\.py::.*?) (PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS)")


def rows(marker, seen, select=()):
    """Runs the tests of a marker; yields `(name, failure or None, notes)`.

    Args:
        marker: of pytest, as pyproject.toml explains it.
        seen: names of trials that were run before.
        select: further arguments of pytest.
    """
    command = [sys.executable, "-m", "pytest", "-vv", "--tb=line", "-m", marker]
    command += ["-p", "no:cacheprovider", "-W", "ignore", *select]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=os.environ
    )
    for line in process.stdout:
        match = _LINE.match(line)
        if match and match[1] not in seen:
            yield match[1], None if match[2] == "PASSED" else match[2].lower(), []
    if process.wait() not in (0, 1, 5):
        yield f"pytest -m {marker}", f"ended with {process.returncode}", []
