"""A recorded trajectory for the tests of this folder."""

import shutil

import pytest
from tiny_teachers import make_teacher, train_by_hand

from keras_kd.teachers import TeacherTrajectory, TrajectoryRecorder


@pytest.fixture(scope="session")
def recorded(tmp_path_factory):
    """Five checkpoints of one epoch of three batches each."""
    folder = tmp_path_factory.mktemp("teacher")
    train_by_hand(make_teacher(), TrajectoryRecorder(folder), epochs=5)
    return folder


@pytest.fixture
def trajectory(recorded, tmp_path):
    """A copy of it, to be damaged at will."""
    shutil.copytree(recorded, tmp_path / "teacher")
    return TeacherTrajectory(tmp_path / "teacher")
