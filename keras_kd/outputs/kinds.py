"""The kinds of output, by their names."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias

from keras_kd.arguments import check_choice
from keras_kd.outputs import bernoulli, categorical, continuous

KindName: TypeAlias = Literal["categorical", "bernoulli", "continuous"]

# One for all outputs, or one for each: by name, or in their order.
OutputKind: TypeAlias = (
    KindName | Mapping[str, KindName | None] | Sequence[KindName | None] | None
)


class Kind(Protocol):
    """What every kind of output answers, each in a module of its own.

    Arrays are logits `(..., units)`, or values; backend tensors and NumPy arrays alike.
    """

    NAME: str
    DECIDES: bool
    SOFTENS: bool

    def from_probabilities(self, probabilities: Any) -> Any: ...

    def predicted(self, outputs: Any, temperature: float = 1.0) -> Any: ...

    def divergence(
        self, teacher: Any, student: Any, temperature: float = 1.0
    ) -> Any: ...

    def cross_entropy(
        self, teacher: Any, student: Any, temperature: float = 1.0
    ) -> Any: ...

    def decision(self, outputs: Any) -> Any: ...

    def agreement(self, teacher: Any, student: Any) -> Any: ...

    def soft_targets(
        self, outputs: Any, temperature: float = 1.0, center: bool = True
    ) -> Any: ...

    def logit_targets(
        self, outputs: Any, temperature: float = 1.0, center: bool = True
    ) -> Any: ...

    def margin(self, outputs: Any, labels: Any) -> Any: ...

    def mean(
        self,
        outputs: Any,
        of: Literal["logits", "probabilities"] = "logits",
        shares: Sequence[float] | None = None,
    ) -> Any: ...


KINDS: Mapping[str, Kind] = {
    kind.NAME: kind for kind in (categorical, bernoulli, continuous)
}


def kind_named(name: str, argument: str = "output_kind") -> Kind:
    """The kind of that name.

    Raises:
        ValueError: there is none.
    """
    check_choice(argument, name, tuple(KINDS))
    return KINDS[name]


def kind_of_classes(units: int | None) -> Kind:
    """The kind of an output that tells classes apart.

    One unit decides between two classes, of which it is the probability of the second.
    """
    return bernoulli if units == 1 else categorical


def name_of(kind: Kind | None) -> str | None:
    """The name of a kind; `None` for one that is not known."""
    return None if kind is None else kind.NAME


def kind_of(name: str | None, units: int | None) -> Kind:
    """The kind of that name; without one, that of an output that tells classes apart.

    Raises:
        ValueError: there is no such kind.
    """
    return kind_of_classes(units) if name is None else kind_named(name)
