"""Fidelity: how often the student's prediction is the teacher's."""

import keras
from keras import ops


def top1_agreement(teacher_outputs, student_outputs):
    """Per example, 1.0 where teacher and student predict the same class, else 0.0.

    Args:
        teacher_outputs: logits `(..., k)`. With `k = 1` the predicted class is the
            sign of the logit.
        student_outputs: logits of the same shape.

    Returns:
        Float tensor `(...)`; NaN where the teacher's outputs are not finite, since
        then there is no prediction to agree with.
    """
    teacher_outputs = ops.convert_to_tensor(teacher_outputs)
    student_outputs = ops.convert_to_tensor(student_outputs)
    if teacher_outputs.shape[-1] == 1:
        same = ops.equal(teacher_outputs[..., 0] > 0, student_outputs[..., 0] > 0)
    else:
        same = ops.equal(
            ops.argmax(teacher_outputs, axis=-1), ops.argmax(student_outputs, axis=-1)
        )
    finite = ops.all(ops.isfinite(teacher_outputs), axis=-1)
    return ops.where(finite, ops.cast(same, "float32"), float("nan"))


@keras.saving.register_keras_serializable(package="keras_kd")
class Fidelity(keras.metrics.MeanMetricWrapper):
    """Top-1 agreement of a student with its teacher, the mean over examples.

    In sequences the mean is over positions; those that a Keras mask on the student's
    outputs leaves out do not count.

    Source: Stanton et al., "Does Knowledge Distillation Really Work?", NeurIPS 2021.

    Example:

    >>> fidelity = Fidelity()
    >>> fidelity.update_state([[0.0, 2.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, 3.0]])
    >>> float(fidelity.result())
    0.5
    """

    def __init__(self, name="fidelity", dtype=None):
        super().__init__(top1_agreement, name=name, dtype=dtype)

    def get_config(self):
        return {"name": self.name, "dtype": self.dtype}
