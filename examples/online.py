"""Online distillation: supervision that follows the teacher's own training.

    KERAS_BACKEND=tensorflow python examples/online.py

The teacher is recorded while it trains, here as the moving average of its weights; the
student then learns from each stage in turn. The log shows which one is in use.
"""

import tempfile

import keras

import keras_kd

EPOCHS = 10
TEMPERATURE = 1.0
WIDTH = 0.5
EMA = 0.99  # None records the weights themselves
HOLD = 0.0  # share of training, at its end, with the final teacher

data = keras_kd.datasets.load("digits")
train, test = (data.x_train, data.y_train), (data.x_test, data.y_test)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
folder = tempfile.mkdtemp()

keras.utils.set_random_seed(0)
teacher = keras_kd.models.ResNet(data.input_shape, data.classes, depth=8)
teacher.compile("adam", loss, metrics=["accuracy"])
recorder = keras_kd.TrajectoryRecorder(folder, ema=EMA)
teacher.fit(*train, epochs=EPOCHS, callbacks=[recorder], verbose=2)
print(f"teacher: {teacher.evaluate(*test, verbose=0)[1]:.1%}")

trajectory = keras_kd.TeacherTrajectory(folder)
student = keras_kd.models.LeNet5(data.input_shape, data.classes, width=WIDTH)
distiller = keras_kd.Distiller(
    trajectory.load(-1), student, keras_kd.losses.SoftTargets(TEMPERATURE)
)
distiller.compile("adam", loss, metrics=["accuracy"])
online = keras_kd.OnlineTeacher(trajectory, hold=HOLD)
distiller.fit(
    *train, epochs=EPOCHS, validation_data=test, callbacks=[online], verbose=2
)
logs = distiller.evaluate(*test, verbose=0, return_dict=True)
print(f"student, online: {logs['accuracy']:.1%}, fidelity {logs['fidelity']:.1%}")
