"""Knowledge distillation for Keras 3."""

from keras_kd import datasets, losses, metrics, models
from keras_kd.distiller import Distiller
from keras_kd.teachers import OnlineTeacher, TeacherTrajectory, TrajectoryRecorder
from keras_kd.version import __version__

__all__ = [
    "Distiller",
    "OnlineTeacher",
    "TeacherTrajectory",
    "TrajectoryRecorder",
    "__version__",
    "datasets",
    "losses",
    "metrics",
    "models",
]
