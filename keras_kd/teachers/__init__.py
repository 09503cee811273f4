"""Where supervision comes from: live, recorded and online teachers."""

from keras_kd.teachers.cache import SupervisionCache
from keras_kd.teachers.mean import mean
from keras_kd.teachers.online import OnlineTeacher
from keras_kd.teachers.recorder import TrajectoryRecorder
from keras_kd.teachers.trajectory import TeacherTrajectory

__all__ = [
    "OnlineTeacher",
    "SupervisionCache",
    "TeacherTrajectory",
    "TrajectoryRecorder",
    "mean",
]
