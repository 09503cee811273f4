"""Supervision caches as candidates of the teacher report."""

import dataclasses
import re

import keras
import numpy as np
import pytest
from scipy.special import softmax
from teachers_compared import (
    HELD,
    N,
    assert_same_rows,
    data,
    linear_student,
    some_logits,
    teacher_model,
)

from keras_kd.complexity import compare_teachers
from keras_kd.complexity.ranking import comparison
from keras_kd.teachers import SupervisionCache, TeacherTrajectory, TrajectoryRecorder

pytestmark = pytest.mark.one_backend

X, Y = data()
CLASSES = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def cached(teacher, folder, x=X, **options):
    options = {"dtype": "float32", "progress": False} | options
    return SupervisionCache.build(teacher, x, folder, **options)


@pytest.fixture(scope="module")
def trajectory(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    teacher = teacher_model()
    teacher.compile(keras.optimizers.SGD(0.3), CLASSES)
    recorder = TrajectoryRecorder(folder)
    teacher.fit(X, Y, batch_size=20, epochs=3, callbacks=[recorder], verbose=0)
    return TeacherTrajectory(folder)


@pytest.mark.parametrize(("dtype", "rtol"), [("float32", 1e-4), ("float16", 1e-2)])
def test_each_checkpoint_has_rows_as_in_its_trajectory(
    trajectory, tmp_path, dtype, rtol
):
    cache = cached(trajectory, tmp_path / "held", (X, Y), dtype=dtype)
    student = linear_student()
    options = {"temperatures": (1, 4), "held_out": HELD, "criterion": "complexity"}
    report = compare_teachers(student, cache, X, Y, **options)
    expected = compare_teachers(student, trajectory, X, Y, **options)
    assert [(row.teacher, row.step) for row in report.rows[::2]] == [
        ("held", 3), ("held", 6), ("held", 9)
    ]  # fmt: skip
    assert report.output_kind == "categorical"
    assert_same_rows(report.rows, expected.rows, rtol=rtol)


def test_examples_are_known_in_any_order_and_by_part(trajectory, tmp_path):
    cache = cached(trajectory, tmp_path / "held")
    chosen = np.random.default_rng(0).permutation(N)[:40]
    student = linear_student()
    report = compare_teachers(student, {"t": cache}, X[chosen], Y[chosen])
    expected = compare_teachers(student, {"t": trajectory}, X[chosen], Y[chosen])
    assert_same_rows(report.rows, expected.rows, rtol=1e-3)


def test_a_model_has_no_steps(tmp_path):
    model = teacher_model()
    cache = cached(model, tmp_path / "held")
    # All of three classes are not the largest three.
    whole = cached(model, tmp_path / "whole", top_k=3)
    rows = compare_teachers(linear_student(), [cache, whole, model], X, Y, 2).rows
    assert [(row.teacher, row.step) for row in rows] == [
        ("held", None), ("whole", None), ("mlp", None)
    ]  # fmt: skip
    assert_same_rows(rows[:1], rows[2:], rtol=1e-3)
    assert rows[0].complexity == rows[1].complexity


def test_stages_and_means_of_a_cache(trajectory, tmp_path):
    cache = cached(trajectory, tmp_path / "held")
    student = linear_student()
    teachers = [cache.stage(1), cache.mean(of="probabilities")]
    rows = compare_teachers(student, teachers, X, Y, 1, held_out=HELD).rows
    assert [row.teacher for row in rows] == ["stage of mlp", "mean of mlp"]
    said = [trajectory.load(i).predict(X, verbose=0) for i in range(3)]
    logs = np.log(np.mean([softmax(z, axis=1) for z in said], axis=0))
    expected = compare_teachers(student, [said[1], logs], X, Y, 1, held_out=HELD).rows
    assert_same_rows(rows, expected, rtol=1e-3)


def test_a_cache_says_what_it_is_of(tmp_path):
    hot = (some_logits(7) > 0).astype(int)
    labels = teacher_model(0, "sigmoid")
    values = teacher_model(1)
    values.compile("sgd", "mse")
    held = cached(
        labels, tmp_path / "labels", teacher_outputs="probabilities", dtype="float16"
    )
    student = linear_student()
    report = compare_teachers(student, held, X, hot, held_out=HELD)
    assert report.output_kind == "bernoulli"
    live = compare_teachers(
        student, labels, X, hot, held_out=HELD, teacher_outputs="probabilities"
    )
    assert_same_rows(report.rows, live.rows, rtol=2e-2)
    held = cached(values, tmp_path / "values")
    report = compare_teachers(student, held, X)
    assert report.output_kind == "continuous"
    assert [row.temperature for row in report.rows] == [1]
    # Logits that were learned by a squared error serve classes, too.
    assert compare_teachers(student, held, X, Y).output_kind == "categorical"
    held._manifest = dataclasses.replace(held._manifest, output_kinds=None)
    # Version 0.1, for which every output told classes apart.
    assert compare_teachers(student, held, X).output_kind == "categorical"


@pytest.mark.wrong_input
@pytest.mark.parametrize(
    ("teacher", "build", "change", "message"),
    [
        (
            teacher_model,
            {},
            {"x": np.concatenate([X[:57], X[:3] + 1])},
            "must hold every example that it is asked for. Received: a batch of which "
            "3 of 60 are not in it",
        ),
        (
            teacher_model,
            {"top_k": 2},
            {},
            "teacher 'held', a cache of the 2 largest of 3 (top_k=2)",
        ),
        (
            lambda: teacher_model(classes=5),
            {},
            {},
            "Received: teacher 'held' with shape (60, 5)",
        ),
        (
            lambda: keras.Model(
                (wide := teacher_model()).inputs, [wide.outputs[0], wide.outputs[0]]
            ),
            {},
            {},
            "Received: teacher 'held' with shape (60, 3), shape (60, 3)",
        ),
        (
            lambda: teacher_model(0, "softmax"),
            {"teacher_outputs": "probabilities"},
            {"output_kind": "bernoulli"},
            "teacher 'held', which holds logits that were made of categorical",
        ),
        (
            teacher_model,
            {"dtype": "float16"},
            {"output_kind": "continuous"},
            "teacher 'held', which holds dtype='float16'",
        ),
    ],
)
def test_what_a_cache_cannot_say(
    teacher, build, change, message, tmp_path, monkeypatch
):
    monkeypatch.setattr(comparison, "empirical_ntk", None)
    monkeypatch.setattr(comparison, "logits_of_teachers", None)
    held = cached(teacher(), tmp_path / "held", **build)
    arguments = {"student": linear_student(), "teachers": held, "x": X} | change
    with pytest.raises(ValueError, match=re.escape(message)):
        compare_teachers(**arguments)
