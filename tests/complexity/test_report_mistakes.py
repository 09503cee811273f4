"""What `compare_teachers` refuses, before any work."""

import keras
import numpy as np
import pytest
from teachers_compared import (
    data,
    linear_student,
    some_logits,
    teacher_model,
)

from keras_kd.complexity import compare_teachers
from keras_kd.complexity.ranking import comparison
from keras_kd.teachers import TeacherTrajectory, TrajectoryRecorder


def softmax_student():
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "softmax")])


class Hidden(keras.Model):
    """Probabilities, which no layer shows."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(3)

    def call(self, x):
        return keras.ops.softmax(self.dense(x))


def hidden_student():
    model = Hidden()
    model(np.zeros((1, 4), "float32"))
    return model


GOOD = some_logits()
BAD = GOOD.copy()
BAD[3, 1] = np.nan


@pytest.mark.wrong_input
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"teachers": []}, "`teachers` must hold at least one teacher. Received: "),
        ({"teachers": {}}, "`teachers` must hold at least one teacher. Received: "),
        ({"teachers": ["resnet"]}, "Received: teacher 'teacher 0' of type str"),
        ({"teachers": {"a": GOOD, "b": GOOD[:, :2]}}, "teacher 'b' with shape (60, 2)"),
        ({"teachers": GOOD[:10]}, "teacher 'teacher' with shape (10, 3)"),
        ({"teachers": {"a": BAD}}, "teacher 'a' with 1 of 180 entries that are not"),
        ({"teachers": {"a": GOOD.astype(str)}}, "teacher 'a' with dtype <U"),
        ({"temperatures": ()}, "`temperatures` must be numbers > 0"),
        ({"temperatures": (1, 0)}, "`temperatures` must be a finite number > 0"),
        ({"temperatures": -1}, "Received: temperatures=-1"),
        ({"temperatures": (2, 2)}, "each once. Received: temperatures=(2, 2)"),
        ({"y": np.zeros(59, int)}, "`y` must be of shape (60,)"),
        ({"y": np.full(60, 3)}, "`y` must be integers from 0 to 2"),
        ({"x": np.full((60, 4), np.nan)}, "`x` must be finite"),
        ({"x": np.zeros((1, 4))}, "`x` must hold at least two examples"),
        ({"student": None}, "`student` must be a Keras model. Received: NoneType"),
        ({"student": keras.Sequential([keras.layers.Dense(3)])}, "must be built"),
        ({"student": softmax_student}, "`student` must give logits"),
        ({"student": hidden_student}, "`student` must give logits"),
        ({"criterion": "accuracy"}, "`criterion` must be one of"),
        ({"y": None, "criterion": "teacher_accuracy"}, "needs labels"),
        ({"kind": "soft"}, "`kind` must be one of"),
        ({"teacher_outputs": "softmax"}, "`teacher_outputs` must be one of"),
        ({"held_out": 1.0}, "`held_out` must be a finite number > 0 and < 1"),
        ({"held_out": [1, 1]}, "`held_out` must be a share"),
        ({"held_out": [60]}, "`held_out` must be a share"),
        ({"held_out": np.arange(60)}, "`held_out` must be a share"),
        ({"ridge": 0}, "`ridge` must be a finite number > 0"),
        ({"delta": 2}, "`delta` must be"),
        ({"features": 0}, "`features` must be a positive integer or None"),
        ({"batch_size": -1}, "`batch_size` must be a positive integer or None"),
        ({"kernel": np.eye(60), "features": 9}, "leave out one of"),
        ({"kernel": np.eye(59)}, "`kernel` must be of shape (60, 60)"),
        ({"kernel": np.arange(3600).reshape(60, 60)}, "`kernel` must be symmetric"),
    ],
)
def test_mistakes_are_found_before_the_kernel(change, message, monkeypatch):
    monkeypatch.setattr(comparison, "empirical_ntk", None)
    monkeypatch.setattr(comparison, "ntk_features", None)
    x, y = data()
    arguments = {"student": linear_student, "teachers": GOOD, "x": x, "y": y} | change
    if callable(arguments["student"]) and not isinstance(
        arguments["student"], keras.Model
    ):
        arguments["student"] = arguments["student"]()
    with pytest.raises((ValueError, TypeError)) as error:
        compare_teachers(**arguments)
    assert message in str(error.value)


@pytest.mark.wrong_input
def test_a_model_that_has_diverged_is_named():
    x, y = data()
    model = teacher_model()
    model.layers[0].kernel.assign(np.full((4, 6), np.nan))
    with pytest.raises(ValueError, match=r"weights must be finite.*'b' with NaN"):
        compare_teachers(linear_student(), {"a": GOOD, "b": model}, x, y)
    bias = keras.initializers.Constant(3e38)
    large = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(3, bias_initializer=bias),
            keras.layers.Rescaling(10.0),
        ]
    )
    with pytest.raises(ValueError, match=r"teacher 'b' with 180 of 180 entries"):
        compare_teachers(linear_student(), {"a": GOOD, "b": large}, x, y)
    with pytest.raises(ValueError, match=r"teacher 'b' with shape \(60, 2\)"):
        compare_teachers(linear_student(), {"b": teacher_model(classes=2)}, x, y)


def test_a_missing_checkpoint_is_found_first(tmp_path, monkeypatch):
    monkeypatch.setattr(comparison, "logits_of_teachers", None)
    x, y = data()
    teacher = teacher_model()
    teacher.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    teacher.fit(x, y, callbacks=[TrajectoryRecorder(tmp_path)], verbose=0)
    trajectory = TeacherTrajectory(tmp_path)
    trajectory[-1].file.unlink()
    with pytest.raises(FileNotFoundError, match="is missing"):
        compare_teachers(linear_student(), trajectory, x, y)
