"""How often a student predicts what its teacher does, on arrays."""

import numpy as np
from numpy.typing import ArrayLike

from keras_kd.complexity.arguments import check_outputs
from keras_kd.complexity.class_outputs import decisions


def fidelity(teacher_outputs: ArrayLike, student_outputs: ArrayLike) -> float:
    """The share of examples for which teacher and student predict the same class.

    Args:
        teacher_outputs: logits `(n, k)`; `(n,)` or `(n, 1)`, of which the sign
            decides, for two classes.
        student_outputs: of the same shape.

    Returns:
        Python float, between 0 and 1.

    Raises:
        ValueError: shapes disagree, or outputs are not finite.

    Source: Stanton et al., "Does Knowledge Distillation Really Work?", NeurIPS 2021;
    as the metric `keras_kd.metrics.Fidelity`.

    Example:

    >>> from keras_kd.complexity import fidelity
    >>> fidelity([[0.0, 2.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, 3.0]])
    0.5
    """
    teacher = check_outputs("teacher_outputs", teacher_outputs)
    student = check_outputs("student_outputs", student_outputs, teacher.shape)
    return float(np.mean(decisions(teacher) == decisions(student)))
