"""What a teacher asks of its student, as targets of a kernel machine."""

import numpy as np
from scipy.special import expit, softmax

from keras_kd.arguments import check_number
from keras_kd.complexity.arguments import check_outputs


def soft_targets(logits, temperature=1.0, kind="probabilities", center=True):
    r"""Predictions at a temperature: $\mathrm{softmax}(g / \tau)$ or $g / \tau$.

    Centred, they sum to 0 over the classes: a constant that is added to all logits of
    an example changes no prediction, and should not count as complexity. One logit
    stands for the difference of two classes: its probability is the sigmoid, of which
    1/2 is taken, and the logit itself is centred as it is.

    Args:
        logits: the teacher's, `(n, k)`, or `(n,)` or `(n, 1)` for two classes.
        temperature: `tau > 0`.
        kind: `"probabilities"` or `"logits"`.
        center: whether to centre over the classes.

    Returns:
        Array `(n, k)`, float64; `(n, 1)` for one logit.

    Raises:
        ValueError: an argument is out of its range, of another shape or not finite.

    Source: Hinton et al., "Distilling the Knowledge in a Neural Network", 2015;
    Harutyunyan et al., ICLR 2023, section 2.

    Example:

    >>> import numpy as np
    >>> from keras_kd.complexity import soft_targets
    >>> soft_targets(np.log([[1.0, 3.0]])).tolist()
    [[-0.25, 0.25]]
    """
    temperature = check_number("temperature", temperature, above=0)
    if kind not in ("probabilities", "logits"):
        raise ValueError(
            f"`kind` must be 'probabilities' or 'logits'. Received: kind={kind!r}"
        )
    return _soft(check_outputs("logits", logits), temperature, kind, center)


def residual_targets(
    logits, student_logits, temperature=1.0, kind="probabilities", center=True
):
    r"""What the student still has to learn: the teacher's soft targets less its own.

    A network is linear in its weights only about its present ones, where its outputs
    are not 0; the kernel machine has to fit the difference. The kernel is that of the
    outputs the residuals are of: of logits for `"logits"`, $(g - f) / \tau$; of the
    model that ends in `softmax(f / tau)` for `"probabilities"`.

    Args:
        logits: the teacher's, `(n, k)`, or `(n,)` or `(n, 1)` for two classes.
        student_logits: the student's present ones, for the same examples.
        temperature: as in `soft_targets`.
        kind: as in `soft_targets`.
        center: as in `soft_targets`.

    Returns:
        Array `(n, k)`, float64; `(n, 1)` for one logit.

    Raises:
        ValueError: as `soft_targets`, and where the shapes differ.

    Source: Harutyunyan et al., ICLR 2023, section 2; Lee et al., "Wide Neural Networks
    of Any Depth Evolve as Linear Models", NeurIPS 2019.

    Example:

    >>> import numpy as np
    >>> from keras_kd.complexity import residual_targets
    >>> residual_targets([[1.0, 3.0]], [[5.0, 5.0]], 2.0, "logits").tolist()
    [[-0.5, 0.5]]
    """
    teacher = soft_targets(logits, temperature, kind, center)
    student = check_outputs("student_logits", student_logits, teacher.shape)
    return teacher - _soft(student, temperature, kind, center)


def _soft(logits, temperature, kind, center) -> np.ndarray:
    scaled = logits / temperature
    if scaled.shape[1] == 1:
        if kind == "logits":
            return scaled
        return expit(scaled) - (0.5 if center else 0.0)
    values = softmax(scaled, axis=1) if kind == "probabilities" else scaled
    return values - values.mean(axis=1, keepdims=True) if center else values
