"""Knowledge distillation for Keras 3."""

from typing import TYPE_CHECKING

from keras_kd.lazy import on_demand
from keras_kd.startup import is_command_line
from keras_kd.version import __version__

if TYPE_CHECKING or not is_command_line():
    # At once, not on demand: importing the classes registers them with Keras, so that
    # after `import keras_kd` alone `keras.saving.load_model` reads what it has saved.
    # The command line would only wait for Keras before it can say what its options
    # are; its commands import what they need, and `keras_kd.registration` before they
    # load a file.
    from keras_kd import datasets, losses, metrics, models
    from keras_kd import registration as registration
    from keras_kd.distiller.distiller import Distiller
    from keras_kd.teachers import (
        OnlineTeacher,
        SupervisionCache,
        TeacherTrajectory,
        TrajectoryRecorder,
    )

if TYPE_CHECKING:
    from keras_kd import callbacks, complexity, experiments, ntk, plots, teachers
else:
    # Who only distils does not wait for what the explanations import.
    __getattr__, __dir__ = on_demand(
        __name__,
        {
            "Distiller": "distiller",
            "OnlineTeacher": "teachers",
            "SupervisionCache": "teachers",
            "TeacherTrajectory": "teachers",
            "TrajectoryRecorder": "teachers",
        },
    )

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
    "experiments",
    "losses",
    "metrics",
    "models",
    "ntk",
    "plots",
    "teachers",
]
