"""What trained is gone once nobody needs it, whoever taught."""

import gc
import weakref

import pytest
from tiny_caches import BATCH, build, examples, network, sparse_loss

from keras_kd import Distiller, OnlineTeacher, TeacherTrajectory, TrajectoryRecorder

X, Y = examples(16)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recorded")
    teacher = network(12)
    teacher.compile("sgd", sparse_loss())
    recorder = TrajectoryRecorder(folder / "teacher")
    teacher.fit(X, Y, BATCH, 2, verbose=0, callbacks=[recorder])
    trajectory = TeacherTrajectory(folder / "teacher")
    return teacher, build(trajectory, (X, Y), folder / "cache")


@pytest.mark.parametrize("way", ["live", "cached", "cached, online"])
def test_all_is_freed(way, recorded):
    """Distiller, student, optimizer, callback and data; teacher and cache live on."""
    teacher, cache = recorded
    student, x = network(), X.copy()
    distiller = Distiller(teacher if way == "live" else cache, student)
    distiller.compile("adam", sparse_loss())
    clock = OnlineTeacher(cache)
    callbacks = [clock] if "online" in way else []
    history = distiller.fit(
        x, Y, BATCH, 2, verbose=0, callbacks=callbacks, validation_data=(x, Y)
    )
    assert len(history.history["loss"]) == 2
    used = distiller, student, distiller.optimizer, distiller.supervisor, clock, x
    alive = [weakref.ref(thing) for thing in used]
    del used, distiller, student, clock, callbacks, x, history
    gc.collect()
    assert [thing() for thing in alive] == [None] * len(alive)
