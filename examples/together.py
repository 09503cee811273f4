"""Teacher and student in one run: no checkpoints, no second pass over the data.

    KERAS_BACKEND=tensorflow python examples/together.py

The teacher learns from the labels, the student from what the teacher says at that
moment. One optimizer serves both.
"""

import keras

import keras_kd

EPOCHS = 10
TEMPERATURE = 1.0
WIDTH = 0.5

data = keras_kd.datasets.load("digits")
train, test = (data.x_train, data.y_train), (data.x_test, data.y_test)

keras.utils.set_random_seed(0)
teacher = keras_kd.models.ResNet(data.input_shape, data.classes, depth=8)
student = keras_kd.models.LeNet5(data.input_shape, data.classes, width=WIDTH)
distiller = keras_kd.Distiller(
    teacher, student, keras_kd.losses.SoftTargets(TEMPERATURE), train_teacher=True
)
distiller.compile(
    "adam",
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
distiller.fit(*train, epochs=EPOCHS, validation_data=test, verbose=2)
logs = distiller.evaluate(*test, verbose=0, return_dict=True)
said = teacher.predict(data.x_test, verbose=0).argmax(-1)
print(f"teacher: {(said == data.y_test).mean():.1%}")
print(f"student, together: {logs['accuracy']:.1%}, fidelity {logs['fidelity']:.1%}")
