"""What is shown of an object is what makes it."""

import numpy as np
import pytest

import keras_kd
from keras_kd import losses
from keras_kd.callbacks import Anneal, SupervisionComplexity
from keras_kd.teachers import OnlineTeacher, SupervisionCache, schedules

pytestmark = pytest.mark.one_backend

WRITTEN = {
    "SoftTargets()": losses.SoftTargets(),
    "SoftTargets(temperature=2.0)": losses.SoftTargets(2),
    "SoftTargets(divergence='cross_entropy')": losses.SoftTargets(
        divergence="cross_entropy"
    ),
    "LogitMSE()": losses.LogitMSE(),
    "DIST(beta=2.0)": losses.DIST(beta=2),
    "DecoupledKD(temperature=2.0)": losses.DecoupledKD(temperature=2.0),
    "FeatureHint(teacher_layer_name='a', student_layer_name='b')": losses.FeatureHint(
        "a", "b"
    ),
    "AttentionTransfer(teacher_layer_name='a', student_layer_name='b')": (
        losses.AttentionTransfer("a", "b")
    ),
    "RelationalKD()": losses.RelationalKD(),
    "LabelSmoothingCrossentropy(label_smoothing=0.2)": (
        losses.LabelSmoothingCrossentropy(0.2)
    ),
    "NearestLater()": schedules.NearestLater(),
    "EqualEpochs()": schedules.EqualEpochs(),
    "PhaseTransition()": schedules.PhaseTransition(),
}


@pytest.mark.parametrize("text", WRITTEN)
def test_objects_with_a_config(text):
    assert repr(WRITTEN[text]) == text
    made = eval(text, vars(losses) | vars(schedules))
    assert made.get_config() == WRITTEN[text].get_config()


def test_callbacks(tmp_path):
    recorder = keras_kd.TrajectoryRecorder(tmp_path / "recorded", every=2)
    assert repr(recorder) == f"TrajectoryRecorder('{tmp_path}/recorded', every=2, " + (
        "unit='epoch')"
    )
    assert repr(Anneal("alpha", abs)) == "Anneal('alpha', <built-in function abs>)"
    x = np.eye(3, dtype="float32")
    complexity = SupervisionComplexity(x, {"labels": np.arange(3)})
    assert repr(complexity) == "<SupervisionComplexity of 'labels', 3 examples>"
    cache = SupervisionCache.from_logits(x, [x] * 2, tmp_path / "c", steps=[1, 2])
    expected = f"OnlineTeacher({cache!r}, NearestLater())"
    assert repr(OnlineTeacher(cache)) == expected
