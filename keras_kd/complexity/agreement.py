"""How often a student predicts what its teacher does, on arrays."""

import numpy as np
from numpy.typing import ArrayLike

from keras_kd.complexity.arguments import check_kind, check_outputs
from keras_kd.outputs import KindName


def fidelity(
    teacher_outputs: ArrayLike,
    student_outputs: ArrayLike,
    output_kind: KindName | None = None,
) -> float:
    """The share of examples for which teacher and student predict the same class.

    Args:
        teacher_outputs: logits `(n, k)`; `(n,)` or `(n, 1)`, of which the sign
            decides, for two classes.
        student_outputs: of the same shape.
        output_kind: `"categorical"`, or `"bernoulli"` for a set of labels, of which the
            share is taken that both decide alike; `None` for classes.

    Returns:
        Python float, between 0 and 1.

    Raises:
        ValueError: shapes disagree, outputs are not finite, or they are values, of
            which nothing is decided.

    Source: Stanton et al., "Does Knowledge Distillation Really Work?", NeurIPS 2021;
    as the metric `keras_kd.metrics.Fidelity`.

    Example:

    >>> from keras_kd.complexity import fidelity
    >>> fidelity([[0.0, 2.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, 3.0]])
    0.5
    """
    teacher = check_outputs("teacher_outputs", teacher_outputs)
    student = check_outputs("student_outputs", student_outputs, teacher.shape)
    kind = check_kind(output_kind, teacher.shape[1])
    return float(np.mean(kind.agreement(teacher, student), dtype=np.float64))
