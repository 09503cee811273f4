"""Checkpoints of `ModelCheckpoint` as a trajectory, against Keras's own reader."""

import keras
import numpy as np
import pytest
from tiny_teachers import compiled, make_data, make_teacher, same

import keras_kd
from keras_kd.teachers import OnlineTeacher, SupervisionCache, TeacherTrajectory

pytestmark = pytest.mark.one_backend


@pytest.fixture(scope="module", params=[".weights.h5", ".keras"])
def saved(request, tmp_path_factory):
    """Three epochs of five batches each, the optimizer in the files too."""
    folder = tmp_path_factory.mktemp("checkpoints")
    keras.utils.set_random_seed(0)
    model = compiled(make_teacher())
    save = keras.callbacks.ModelCheckpoint(
        str(folder / f"{{epoch:02d}}{request.param}"),
        save_weights_only=request.param != ".keras",
    )
    x, y = make_data()
    model.fit(x, y, batch_size=4, epochs=3, verbose=0, callbacks=[save])
    return sorted(folder.iterdir()), model


def test_they_are_a_trajectory(saved, tmp_path):
    files, model = saved
    given = None if files[0].suffix == ".keras" else model
    trajectory = TeacherTrajectory.from_files(files, steps=[5, 10, 15], model=given)
    assert [c.step for c in trajectory] == [5, 10, 15]
    assert (trajectory.total_steps, trajectory.folder) == (15, files[0].parent)
    assert same(trajectory.load(-1).get_weights(), model.get_weights())
    for i, file in enumerate(files):
        other = make_teacher()
        if file.suffix == ".keras":
            other = keras.saving.load_model(file)
        else:
            other.load_weights(file)
        assert same(trajectory.load(i).get_weights(), other.get_weights())
        assert same(
            trajectory.load(i, make_teacher()).get_weights(), other.get_weights()
        )
    x, _ = make_data()
    cache = SupervisionCache.build(
        trajectory, x, tmp_path / "cache", dtype="float32", progress=False
    )
    np.testing.assert_allclose(
        cache.predict(x, -1), model.predict(x, verbose=0), atol=1e-6
    )
    student = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    distiller = keras_kd.Distiller(
        trajectory.load(0), student, output_kind="categorical"
    )
    distiller.compile("sgd")
    logs = distiller.fit(
        x, batch_size=4, epochs=3, verbose=0, callbacks=[OnlineTeacher(trajectory)]
    ).history
    assert logs["teacher_step"] == [5, 10, 15]


def test_equal_distances(saved):
    files, model = saved
    trajectory = TeacherTrajectory.from_files(files, model=model)
    assert [c.step for c in trajectory] == [1, 2, 3]


def test_a_file_that_changes_is_noticed(saved, tmp_path):
    files, model = saved
    copy = tmp_path / files[0].name
    copy.write_bytes(files[0].read_bytes())
    trajectory = TeacherTrajectory.from_files([copy], model=model)
    copy.write_bytes(files[1].read_bytes())
    with pytest.raises(ValueError, match=r"was altered|was truncated"):
        trajectory.load(0)


@pytest.mark.wrong_input
def test_refused(saved, tmp_path):
    files, model = saved
    broken = tmp_path / files[0].name
    broken.write_bytes(files[0].read_bytes()[:-300])
    (tmp_path / "notes.txt").write_text("")
    from_files = TeacherTrajectory.from_files
    for arguments, error, message in (
        (([],), ValueError, "at least one file"),
        ((str(files[0]),), ValueError, "must be a list of files"),
        (([tmp_path / "notes.txt"],), ValueError, r"must end in .*notes\.txt"),
        (([tmp_path / "no.keras"],), FileNotFoundError, r"must be there.*no\.keras"),
        (
            (files, [1, 2], model),
            ValueError,
            "each of the 3 files.*Received: 2 numbers",
        ),
        ((files, [1, 3, 2], model), ValueError, r"increase.*\[1, 3, 2\]"),
        (
            (files, [1, 2, 2.5], model),
            ValueError,
            r"`steps\[2\]` must be an integer > 0",
        ),
        ((files, [0, 1, 2], model), ValueError, r"`steps\[0\]` must be an integer > 0"),
        ((files, None, "model"), ValueError, "`model` must be a built"),
        ((files, None, make_teacher(units=7)), ValueError, f"{files[0].name}'"),
        (([files[0], broken], None, model), ValueError, f"{broken.name}'.*leave the"),
    ):
        with pytest.raises(error, match=message):
            from_files(*arguments)
    if files[0].suffix != ".keras":
        with pytest.raises(ValueError, match="`model` must be the teacher where"):
            from_files(files)


@pytest.mark.wrong_input
def test_a_file_of_a_diverged_teacher(tmp_path):
    model = make_teacher()
    model.get_layer("logits").bias.assign([0.0, np.nan, 0.0])
    model.save_weights(tmp_path / "one.weights.h5")
    trajectory = TeacherTrajectory.from_files(
        [tmp_path / "one.weights.h5"], model=model
    )
    with pytest.raises(ValueError, match=r"NaN or infinite values in '.*logits/bias'"):
        trajectory.load(0)
