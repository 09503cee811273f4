"""With what a result was made."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import keras
import numpy as np

from keras_kd.version import __version__


def provenance() -> dict[str, str | int | None]:
    """Versions, backend, machine, and the commit of a checkout, `+` if changed."""
    backend = keras.backend.backend()
    return {
        "keras_kd": __version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "keras": keras.__version__,
        "backend": backend,
        backend: _version(backend),
        "numpy": np.__version__,
        "machine": platform.machine(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
    }


def _version(backend: str) -> str | None:
    for name in (backend, f"{backend}-cpu"):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            pass
    return None


def _commit() -> str | None:
    folder = Path(__file__).parents[3]
    if not (folder / ".git").exists():
        return None
    try:
        commit, changed = (
            subprocess.run(
                ["git", *command],
                cwd=folder,
                capture_output=True,
                text=True,
                check=True,
            ).stdout.strip()
            for command in (
                ("rev-parse", "HEAD"),
                ("status", "--porcelain", "--untracked-files=no"),
            )
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + ("+" if changed else "")
