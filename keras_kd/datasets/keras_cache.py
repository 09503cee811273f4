"""Where Keras keeps the data sets that it downloaded."""

import os
from pathlib import Path


def keras_cache() -> Path:
    """Where `keras.datasets` keeps what it downloaded."""
    home = os.environ.get("KERAS_HOME", Path.home() / ".keras")
    return Path(home) / "datasets"
