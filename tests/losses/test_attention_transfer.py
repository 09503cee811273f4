import keras
import numpy as np
import pytest
import torch
import torchdistill.losses.mid_level as torchdistill
from loss_inputs import normal, of_torchdistill, value

from keras_kd.losses import AttentionTransfer
from keras_kd.losses.feature_maps import pool_to_same_size


def of_reference(teacher, student):
    pair = {"teacher": {"path": "t", "io": "output"}}
    pair["student"] = {"path": "s", "io": "output"}
    oracle = torchdistill.ATLoss({"pair": pair}, mode="code")
    return of_torchdistill(
        oracle, np.moveaxis(teacher, -1, 1), np.moveaxis(student, -1, 1)
    )


def pooled(x, height, width):
    """By torch, channels last."""
    x = torch.from_numpy(np.moveaxis(x, -1, 1))
    x = torch.nn.functional.adaptive_avg_pool2d(x, (height, width))
    return np.moveaxis(x.numpy(), 1, -1)


def test_is_torchdistills_code_mode():
    teacher, student = normal(2, 3, 4, 3, seed=1), normal(2, 3, 4, 5, seed=2)
    loss = AttentionTransfer("t", "s").compute_loss(teacher, student)
    assert value(loss) == pytest.approx(of_reference(teacher, student), rel=1e-5)


@pytest.mark.parametrize(
    ("teacher_size", "student_size", "common"),
    [((8, 8), (4, 4), (4, 4)), ((3, 4), (7, 4), (3, 4)), ((7, 4), (3, 9), (3, 4))],
)
def test_other_sizes_are_pooled_to_the_smaller(teacher_size, student_size, common):
    teacher = normal(2, *teacher_size, 3, seed=1)
    student = normal(2, *student_size, 5, seed=2)
    expected = of_reference(pooled(teacher, *common), pooled(student, *common))
    loss = AttentionTransfer("t", "s").compute_loss(teacher, student)
    assert value(loss) == pytest.approx(expected, rel=1e-5)


def test_pooling_is_torchs_adaptive_average():
    teacher, student = normal(2, 7, 4, 3), np.zeros((2, 3, 9, 1), "float32")
    teacher, student = (keras.ops.convert_to_tensor(x) for x in (teacher, student))
    actual, other = pool_to_same_size(teacher, student)
    np.testing.assert_allclose(value(actual), pooled(normal(2, 7, 4, 3), 3, 4), 1e-5)
    assert tuple(other.shape) == (2, 3, 4, 1)


@pytest.mark.parametrize("p", [1, 1.5, 4])
def test_other_powers_are_the_papers_formula(p):
    teacher, student = normal(2, 3, 4, 3, seed=1), normal(2, 3, 4, 5, seed=2)

    def attention(x):
        q = (np.abs(np.float64(x)) ** p).sum(-1).reshape(2, -1)
        return q / np.linalg.norm(q, axis=-1, keepdims=True)

    expected = np.mean((attention(teacher) - attention(student)) ** 2)
    loss = AttentionTransfer("t", "s", p=p).compute_loss(teacher, student)
    assert value(loss) == pytest.approx(expected, rel=1e-5)


def test_scale_of_the_features_does_not_count():
    teacher, student = normal(2, 3, 4, 3, seed=1), normal(2, 3, 4, 3, seed=2)
    loss = AttentionTransfer("t", "s")
    scaled = loss.compute_loss(10 * teacher, 0.1 * student)
    expected = value(loss.compute_loss(teacher, student))
    assert value(scaled) == pytest.approx(expected, rel=1e-5)
    assert value(loss.compute_loss(teacher, 3 * teacher)) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("channels", [5, 3])
def test_tokens_are_a_map_of_width_one(channels):
    teacher, student = normal(2, 6, 5, seed=1), normal(2, 6, channels, seed=2)
    loss = AttentionTransfer("a", "b")
    as_map = loss(teacher[:, :, None], student[:, :, None])
    assert value(loss(teacher, student)) == pytest.approx(value(as_map), rel=1e-6)
    maps = [np.mean(np.square(z), axis=-1) for z in (teacher, student)]
    maps = [m / np.linalg.norm(m, axis=-1, keepdims=True) for m in maps]
    expected = np.mean(np.square(maps[0] - maps[1]))
    assert value(loss(teacher, student)) == pytest.approx(expected, rel=1e-5)


def test_sequences_of_other_lengths_are_pooled():
    teacher, student = normal(2, 6, 5, seed=1), normal(2, 3, 4, seed=2)
    loss = AttentionTransfer("a", "b")
    pooled = teacher.reshape(2, 3, 2, 5).mean(axis=2)
    expected = value(loss(pooled, student))
    assert value(loss(teacher, student)) == pytest.approx(expected, rel=1e-5)
