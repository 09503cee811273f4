"""One class out of several: logits `(..., classes)`, a softmax over the last axis."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from keras_kd.outputs import softened
from keras_kd.outputs.arithmetic import functions_for, log_of_mean, weighted_mean

NAME = "categorical"
# Whether there is a decision to agree on, and whether a temperature softens it.
DECIDES = True
SOFTENS = True
# Probabilities are clipped here before the logarithm, as Keras's own losses do.
_EPSILON = 1e-7


def from_probabilities(probabilities: Any) -> Any:
    """Logits of softmax probabilities `(..., classes)`."""
    f = functions_for(probabilities)
    return f.log(f.clip(probabilities, _EPSILON, 1.0 - _EPSILON))


def predicted(outputs: Any, temperature: float = 1.0) -> Any:
    r"""Log-probabilities `(..., classes)`, $\log \mathrm{softmax}(z / \tau)$."""
    return functions_for(outputs).log_softmax(outputs / temperature, axis=-1)


def divergence(teacher: Any, student: Any, temperature: float = 1.0) -> Any:
    r"""$\mathrm{KL}(p_t \| p_s)$ in nats, `(...)`, at a temperature."""
    return softened.divergence(teacher, student, temperature)


def cross_entropy(teacher: Any, student: Any, temperature: float = 1.0) -> Any:
    r"""$-\sum p_t \log p_s$ in nats, `(...)`, at a temperature."""
    # Not by its formula, whose gradient is a difference of nearly equal numbers.
    return softened.entropy(teacher, temperature) + softened.divergence(
        teacher, student, temperature
    )


def decision(outputs: Any) -> Any:
    """The class, `(...)`; of several largest logits the first counts."""
    return functions_for(outputs).argmax(outputs, axis=-1)


def agreement(teacher: Any, student: Any) -> Any:
    """1.0 where both decide for the same class, else 0.0, `(...)`."""
    f = functions_for(student)
    return f.cast(f.equal(decision(teacher), decision(student)), "float32")


def soft_targets(outputs: Any, temperature: float = 1.0, center: bool = True) -> Any:
    """Probabilities `(..., classes)`, centred so that they sum to 0."""
    f = functions_for(outputs)
    return _centred(f.softmax(outputs / temperature, axis=-1), center)


def logit_targets(outputs: Any, temperature: float = 1.0, center: bool = True) -> Any:
    """Logits over the temperature, `(..., classes)`, centred so that they sum to 0.

    A constant that is added to all logits of an example changes no prediction.
    """
    return _centred(outputs / temperature, center)


def _centred(values: Any, center: bool) -> Any:
    if not center:
        return values
    return values - functions_for(values).mean(values, axis=-1, keepdims=True)


def margin(outputs: Any, labels: Any) -> Any:
    r"""$f_y - \max_{j \ne y} f_j$, `(...)`: negative where another class wins.

    Args:
        outputs: `(..., classes)`, NumPy array.
        labels: integers `(...)`.
    """
    f = functions_for(outputs)
    own = labels[..., None] == np.arange(outputs.shape[-1])
    return f.max(f.where(own, outputs, -math.inf), axis=-1) - f.max(
        f.where(own, -math.inf, outputs), axis=-1
    )


def mean(
    outputs: Any,
    of: Literal["logits", "probabilities"] = "logits",
    shares: Sequence[float] | None = None,
) -> Any:
    """Logits of the mean of several teachers.

    Args:
        outputs: logits `(teachers, ..., classes)`.
        of: whether logits are averaged (a geometric mean of probabilities, at every
            temperature) or probabilities at temperature 1.
        shares: of the teachers, which add up to 1; `None` for equal ones.
    """
    if of == "logits":
        return weighted_mean(outputs, shares)
    return log_of_mean(predicted(outputs), shares)
