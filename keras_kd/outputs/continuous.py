"""Values, `(..., d)`: regression. No softmax, no temperature, no decision."""

from collections.abc import Sequence
from typing import Any, Literal, NoReturn

from keras_kd.outputs.arithmetic import functions_for, weighted_mean

NAME = "continuous"
DECIDES = False
SOFTENS = False


def from_probabilities(probabilities: Any) -> Any:
    """The values as they are, whatever their range."""
    return probabilities


def predicted(outputs: Any, temperature: float = 1.0) -> Any:
    """The values as they are, at every temperature."""
    return outputs


def divergence(teacher: Any, student: Any, temperature: float = 1.0) -> Any:
    """The mean squared error over the last axis, `(...)`, at every temperature.

    Up to a factor the divergence of two normal distributions of one variance.
    """
    f = functions_for(student)
    return f.mean(f.square(student - teacher), axis=-1)


def cross_entropy(teacher: Any, student: Any, temperature: float = 1.0) -> Any:
    """As `divergence`, from which it would differ by a constant."""
    return divergence(teacher, student, temperature)


def decision(outputs: Any) -> NoReturn:
    """There is none.

    Raises:
        ValueError: always.
    """
    raise _no_decision("decision")


def agreement(teacher: Any, student: Any) -> NoReturn:
    """There is none without decisions.

    Raises:
        ValueError: always.
    """
    raise _no_decision("agreement")


def soft_targets(outputs: Any, temperature: float = 1.0, center: bool = True) -> Any:
    """The values as they are, at every temperature."""
    return outputs


def logit_targets(outputs: Any, temperature: float = 1.0, center: bool = True) -> Any:
    """The values as they are, at every temperature."""
    return outputs


def margin(outputs: Any, labels: Any) -> NoReturn:
    """There is none without decisions.

    Raises:
        ValueError: always.
    """
    raise _no_decision("margin")


def mean(
    outputs: Any,
    of: Literal["logits", "probabilities"] = "logits",
    shares: Sequence[float] | None = None,
) -> Any:
    """The mean of several teachers' values `(teachers, ..., d)`, whatever `of` is."""
    return weighted_mean(outputs, shares)


def _no_decision(what: str) -> ValueError:
    return ValueError(
        f"Continuous outputs are values, of which there is no {what}. "
        "Received: output_kind='continuous'"
    )
