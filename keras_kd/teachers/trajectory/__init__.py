"""A teacher's recorded checkpoints: how they are written, and how they are read."""

from keras_kd.teachers.trajectory.reader import TeacherTrajectory
from keras_kd.teachers.trajectory.recorder import TrajectoryRecorder

__all__ = ["TeacherTrajectory", "TrajectoryRecorder"]
