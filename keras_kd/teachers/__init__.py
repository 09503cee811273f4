"""Where supervision comes from: live, recorded and online teachers."""

from keras_kd.teachers.cache import SupervisionCache
from keras_kd.teachers.ensemble import mean
from keras_kd.teachers.one_output import output_of
from keras_kd.teachers.online import OnlineTeacher
from keras_kd.teachers.trajectory.reader import TeacherTrajectory
from keras_kd.teachers.trajectory.recorder import TrajectoryRecorder

__all__ = [
    "OnlineTeacher",
    "SupervisionCache",
    "TeacherTrajectory",
    "TrajectoryRecorder",
    "mean",
    "output_of",
]
