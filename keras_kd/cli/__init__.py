"""The command line, `keras-kd`."""

from keras_kd.cli.commands import app

__all__ = ["app"]
