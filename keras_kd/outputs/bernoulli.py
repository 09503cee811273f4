"""Labels that are there or not, each by itself: logits `(..., labels)` of sigmoids.

One unit is the decision between two classes, 0 and 1; several are a set of labels.
"""

from collections.abc import Sequence
from typing import Any, Literal

from keras_kd.outputs import softened
from keras_kd.outputs.arithmetic import functions_for, log_of_mean, weighted_mean

NAME = "bernoulli"
DECIDES = True
SOFTENS = True
_EPSILON = 1e-7


def from_probabilities(probabilities: Any) -> Any:
    """Logits of sigmoid probabilities, `log(p / (1 - p))`."""
    f = functions_for(probabilities)
    p = f.clip(probabilities, _EPSILON, 1.0 - _EPSILON)
    return f.log(p) - f.log1p(-p)


def predicted(outputs: Any, temperature: float = 1.0) -> Any:
    r"""Log-probability of each label, `(..., labels)`, $\log \sigma(z / \tau)$."""
    return -functions_for(outputs).softplus(-outputs / temperature)


def divergence(teacher: Any, student: Any, temperature: float = 1.0) -> Any:
    r"""$\sum_l \mathrm{KL}(p_{t,l} \| p_{s,l})$ over the labels, in nats, `(...)`."""
    terms = softened.divergence(_both(teacher), _both(student), temperature)
    return functions_for(student).sum(terms, axis=-1)


def cross_entropy(teacher: Any, student: Any, temperature: float = 1.0) -> Any:
    """The sum over the labels of their cross-entropies, in nats, `(...)`."""
    entropies = softened.entropy(_both(teacher), temperature)
    return functions_for(student).sum(entropies, axis=-1) + divergence(
        teacher, student, temperature
    )


def _both(outputs: Any) -> Any:
    """Each label as the two classes `[0, z]` of a softmax, `(..., labels, 2)`."""
    f = functions_for(outputs)
    z = f.where(outputs > -softened.BANNED, -softened.BANNED, outputs)
    return f.stack([f.zeros_like(z), z], axis=-1)


def decision(outputs: Any) -> Any:
    """Which labels are there, booleans `(..., labels)`: those with a logit above 0."""
    return outputs > 0


def agreement(teacher: Any, student: Any) -> Any:
    """The share of the labels on which both decide alike, `(...)`."""
    f = functions_for(student)
    same = f.cast(f.equal(decision(teacher), decision(student)), "float32")
    return f.mean(same, axis=-1)


def soft_targets(outputs: Any, temperature: float = 1.0, center: bool = True) -> Any:
    """Probabilities `(..., labels)`; centred, 1/2 is taken off each."""
    f = functions_for(outputs)
    return f.sigmoid(outputs / temperature) - (0.5 if center else 0.0)


def logit_targets(outputs: Any, temperature: float = 1.0, center: bool = True) -> Any:
    """Logits over the temperature, `(..., labels)`; they are centred as they are."""
    return outputs / temperature


def margin(outputs: Any, labels: Any) -> Any:
    """Each logit with its label's sign, `(..., labels)`.

    Negative where the label is decided otherwise.

    Args:
        outputs: `(..., labels)`.
        labels: zeros and ones of the same shape.
    """
    return functions_for(outputs).where(labels == 1, outputs, -outputs)


def mean(
    outputs: Any,
    of: Literal["logits", "probabilities"] = "logits",
    shares: Sequence[float] | None = None,
) -> Any:
    """Logits of the mean of several teachers.

    Args:
        outputs: logits `(teachers, ..., labels)`.
        of: whether logits are averaged, or probabilities at temperature 1.
        shares: of the teachers, which add up to 1; `None` for equal ones.
    """
    if of == "logits":
        return weighted_mean(outputs, shares)
    # Both probabilities of each label, in logarithms.
    yes, no = (predicted(sign * outputs) for sign in (1.0, -1.0))
    return log_of_mean(yes, shares) - log_of_mean(no, shares)
