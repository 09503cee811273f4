"""What a trained network says of images, and how often that is right."""

import keras
import numpy as np

from keras_kd.arguments import check_instance
from keras_kd.datasets import Dataset
from keras_kd.metrics import top1_agreement

# Images a forward pass.
BATCH = 512


def logits_of(model: keras.Model, x: np.ndarray) -> np.ndarray:
    """What a model says of images, `(n, classes)`."""
    outputs: np.ndarray = model.predict(x, batch_size=BATCH, verbose=0)
    return outputs


def share_right(logits: np.ndarray, labels: np.ndarray) -> float:
    """The share of images whose largest logit is the label's, in [0, 1]."""
    return float(np.mean(logits.argmax(-1) == labels))


def evaluate(
    student: keras.Model, dataset: Dataset, teacher: keras.Model | None = None
) -> tuple[float, float | None]:
    """Accuracy on the test images, and agreement with `teacher` if one is given."""
    check_instance("student", student, keras.Model, "a `keras.Model`")
    check_instance("dataset", dataset, Dataset, "a `keras_kd.datasets.Dataset`")
    if teacher is not None:
        check_instance("teacher", teacher, keras.Model, "None or a `keras.Model`")
    outputs = logits_of(student, dataset.x_test)
    accuracy = share_right(outputs, dataset.y_test)
    if teacher is None:
        return accuracy, None
    agreement = keras.ops.convert_to_numpy(
        top1_agreement(logits_of(teacher, dataset.x_test), outputs)
    )
    return accuracy, float(agreement.mean())
