"""Offline distillation: a student learns from the predictions of a finished teacher.

    KERAS_BACKEND=tensorflow python examples/offline.py

The same student, from the same weights, is trained on the labels first.
"""

import keras

import keras_kd

EPOCHS = 10
TEMPERATURE = 4.0
WIDTH = 0.5

data = keras_kd.datasets.load("digits")
train, test = (data.x_train, data.y_train), (data.x_test, data.y_test)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

keras.utils.set_random_seed(0)
teacher = keras_kd.models.ResNet(data.input_shape, data.classes, depth=8)
teacher.compile("adam", loss, metrics=["accuracy"])
teacher.fit(*train, epochs=EPOCHS, verbose=2)
print(f"teacher: {teacher.evaluate(*test, verbose=0)[1]:.1%}")

student = keras_kd.models.LeNet5(data.input_shape, data.classes, width=WIDTH)
start = student.get_weights()
student.compile("adam", loss, metrics=["accuracy"])
student.fit(*train, epochs=EPOCHS, verbose=0)
print(f"student on labels: {student.evaluate(*test, verbose=0)[1]:.1%}")

student.set_weights(start)
distiller = keras_kd.Distiller(
    teacher, student, keras_kd.losses.SoftTargets(TEMPERATURE)
)
distiller.compile("adam", loss, metrics=["accuracy"])
distiller.fit(*train, epochs=EPOCHS, validation_data=test, verbose=2)
logs = distiller.evaluate(*test, verbose=0, return_dict=True)
print(f"student, distilled: {logs['accuracy']:.1%}, fidelity {logs['fidelity']:.1%}")

# The student is an ordinary model.
distiller.student.summary()
