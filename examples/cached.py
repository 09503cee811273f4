"""Cached supervision: the teacher runs once, students cost what plain training costs.

    KERAS_BACKEND=tensorflow python examples/cached.py

The predictions of every checkpoint are held in files. Two students of different widths
learn from them in one pass over the data, online; then one learns from the mean of all
checkpoints.
"""

import tempfile
import time
from pathlib import Path

import keras

import keras_kd

EPOCHS = 10
TEMPERATURE = 1.0
WIDTHS = {"small": 0.5, "large": 2}

data = keras_kd.datasets.load("digits")
train, test = (data.x_train, data.y_train), (data.x_test, data.y_test)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
folder = Path(tempfile.mkdtemp())


def student(width):
    return keras_kd.models.LeNet5(data.input_shape, data.classes, width=width)


def report(name, model):
    model.compile(loss=loss, metrics=["accuracy"])
    print(f"{name}: {model.evaluate(*test, verbose=0)[1]:.1%}")


keras.utils.set_random_seed(0)
teacher = keras_kd.models.ResNet(data.input_shape, data.classes, depth=8)
teacher.compile("adam", loss, metrics=["accuracy"])
recorder = keras_kd.TrajectoryRecorder(folder / "teacher", ema=0.99)
teacher.fit(*train, epochs=EPOCHS, callbacks=[recorder], verbose=0)
report("teacher", teacher)

begin = time.perf_counter()
trajectory = keras_kd.TeacherTrajectory(folder / "teacher")
cache = keras_kd.SupervisionCache.build(trajectory, train, folder / "supervision")
print(f"{cache}: {cache.size / 1e6:.1f} MB, {time.perf_counter() - begin:.1f} s")

students = {name: student(width) for name, width in WIDTHS.items()}
x = keras.Input(data.input_shape)
both = keras.Model(x, {name: model(x) for name, model in students.items()})
distiller = keras_kd.Distiller(cache, both, keras_kd.losses.SoftTargets(TEMPERATURE))
distiller.compile("adam")
online = keras_kd.OnlineTeacher(cache)
distiller.fit(data.x_train, epochs=EPOCHS, callbacks=[online], verbose=2)
for name, model in students.items():
    report(f"student, {name}, online", model)

one = student(WIDTHS["small"])
distiller = keras_kd.Distiller(
    cache.mean(of="probabilities"), one, keras_kd.losses.SoftTargets(TEMPERATURE)
)
distiller.compile("adam")
distiller.fit(data.x_train, epochs=EPOCHS, verbose=0)
report("student, small, from the mean of all checkpoints", one)
