"""What a teacher asks of its student, as targets of a kernel machine."""

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from keras_kd.arguments import check_choice, check_temperature
from keras_kd.complexity.arguments import check_kind, check_outputs
from keras_kd.outputs import KindName

# What targets are made of.
Kind: TypeAlias = Literal["probabilities", "logits"]


def soft_targets(
    logits: ArrayLike,
    temperature: float = 1.0,
    kind: Kind = "probabilities",
    center: bool = True,
    output_kind: KindName | None = None,
) -> NDArray[np.float64]:
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
        output_kind: `"categorical"`; `"bernoulli"` for a set of labels, a sigmoid each;
            or `"continuous"` for values, which are their own targets. `None`: the
            outputs tell classes apart.

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
    temperature = check_temperature("temperature", temperature)
    check_choice(
        "kind",
        kind,
        ("probabilities", "logits"),
        expected="'probabilities' or 'logits'",
    )
    return _soft(
        check_outputs("logits", logits), temperature, kind, center, output_kind
    )


def residual_targets(
    logits: ArrayLike,
    student_logits: ArrayLike,
    temperature: float = 1.0,
    kind: Kind = "probabilities",
    center: bool = True,
    output_kind: KindName | None = None,
) -> NDArray[np.float64]:
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
        output_kind: as in `soft_targets`.

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
    teacher = soft_targets(logits, temperature, kind, center, output_kind)
    student = check_outputs("student_logits", student_logits, teacher.shape)
    return teacher - _soft(student, temperature, kind, center, output_kind)


def _soft(
    logits: NDArray[np.float64],
    temperature: float,
    kind: Kind,
    center: bool,
    output_kind: KindName | None,
) -> NDArray[np.float64]:
    of = check_kind(output_kind, logits.shape[1])
    made = of.soft_targets if kind == "probabilities" else of.logit_targets
    return np.asarray(made(logits, temperature, center), np.float64)
