"""Knowledge distillation for Keras 3."""

import importlib

from keras_kd import datasets, losses, metrics, models
from keras_kd.distiller.distiller import Distiller
from keras_kd.teachers import (
    OnlineTeacher,
    SupervisionCache,
    TeacherTrajectory,
    TrajectoryRecorder,
)
from keras_kd.version import __version__

__all__ = [
    "Distiller",
    "OnlineTeacher",
    "SupervisionCache",
    "TeacherTrajectory",
    "TrajectoryRecorder",
    "__version__",
    "callbacks",
    "complexity",
    "datasets",
    "losses",
    "metrics",
    "models",
    "ntk",
]


def __getattr__(name):
    # Who only distils does not wait for what the explanations import.
    if name in ("callbacks", "complexity", "ntk"):
        return importlib.import_module(f"keras_kd.{name}")
    raise AttributeError(f"module 'keras_kd' has no attribute '{name}'")
