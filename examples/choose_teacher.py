"""Which stage of a teacher, and which temperature, should teach this student?

    KERAS_BACKEND=tensorflow python examples/choose_teacher.py

A teacher is recorded; the report ranks its stages and several temperatures for a
student that is not trained yet; then the student learns from the first of them and
from the last.
"""

import tempfile

import keras

import keras_kd
from keras_kd.complexity import compare_teachers

EPOCHS = 8
TEMPERATURES = (1, 4)
N = 400
WIDTH = 0.5

data = keras_kd.datasets.load("digits")
train, test = (data.x_train, data.y_train), (data.x_test, data.y_test)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
folder = tempfile.mkdtemp()

keras.utils.set_random_seed(0)
teacher = keras_kd.models.ResNet(data.input_shape, data.classes, depth=8)
teacher.compile("adam", loss, metrics=["accuracy"])
recorder = keras_kd.TrajectoryRecorder(folder, every=max(1, EPOCHS // 4))
teacher.fit(*train, epochs=EPOCHS, callbacks=[recorder], verbose=2)
trajectory = keras_kd.TeacherTrajectory(folder)

student = keras_kd.models.LeNet5(data.input_shape, data.classes, width=WIDTH)
start = student.get_weights()
report = compare_teachers(
    student, trajectory, data.x_train[:N], data.y_train[:N], TEMPERATURES
)
print(report)
print(f"ranking survives ten times more or less ridge: {report.robust}")

checkpoints = {checkpoint.step: checkpoint.index for checkpoint in trajectory}
for row in (report.best, report.ranking[-1]):
    student.set_weights(start)
    distiller = keras_kd.Distiller(
        trajectory.load(checkpoints[row.step]),
        student,
        keras_kd.losses.SoftTargets(row.temperature),
    )
    distiller.compile("adam", loss, metrics=["accuracy"])
    distiller.fit(*train, epochs=EPOCHS, verbose=0)
    accuracy = distiller.evaluate(*test, verbose=0, return_dict=True)["accuracy"]
    print(f"student of {row.label} at T = {row.temperature:g}: {accuracy:.1%}")
