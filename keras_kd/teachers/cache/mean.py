"""CachedMean: the mean of several cached teachers, as one supervision."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import keras
import numpy as np

from keras_kd.arguments import check_choice, check_number
from keras_kd.outputs import kind_of
from keras_kd.teachers.cache.manifest import Spec

MEANS = ("logits", "probabilities")


@keras.saving.register_keras_serializable(package="keras_kd")
class CachedMean:
    """The mean of stages of one or several supervision caches; of one, itself.

    Made by `SupervisionCache.stage`, `SupervisionCache.mean` and
    `keras_kd.teachers.mean`.

    Args:
        members: pairs of a `SupervisionCache` and the index of one of its stages.
        of: whether logits are averaged, or probabilities.
        weights: of the members, > 0; `None` for equal ones.

    Raises:
        ValueError: no members, or such as give other outputs; or it is not known what
            outputs mean whose probabilities are to be averaged; or the weights are no
            such numbers.
    """

    def __init__(
        self,
        members: Iterable[tuple[Any, int]],
        of: Literal["logits", "probabilities"] = "logits",
        weights: Sequence[float] | None = None,
    ):
        self.members: list[tuple[Any, int]] = list(members)
        if not self.members:
            raise ValueError("The mean needs at least one teacher. Received: none")
        check_choice("of", of, MEANS)
        self.of: Literal["logits", "probabilities"] = of
        self.shares = checked_shares(weights, len(self.members))
        first = self.members[0][0].spec
        for cache, _ in self.members:
            if (cache.spec.outputs, cache.spec.logits) != (first.outputs, first.logits):
                raise ValueError(
                    "Teachers whose mean is taken must give the same outputs. "
                    f"Received: shapes {first.logits} and {cache.spec.logits}"
                )
        check_same_kinds([cache.output_kinds for cache, _ in self.members])
        unknown = None in (self.output_kinds or [])
        if of == "probabilities" and unknown and len(self.members) > 1:
            raise unknown_kind_of_mean()

    def __repr__(self) -> str:
        if len(self.members) == 1:
            cache, index = self.members[0]
            return f"<checkpoint {index} of {cache!r}>"
        return f"<mean of the {self.of} of {len(self.members)} cached teachers>"

    @property
    def spec(self) -> Spec:
        """What the teachers take and give; of several, without taps."""
        spec: Spec = self.members[0][0].spec
        if len(self.members) > 1:
            spec = dataclasses.replace(spec, taps={})
        return spec

    @property
    def teacher_name(self) -> str:
        """The name of the first teacher."""
        return str(self.members[0][0].teacher_name)

    @property
    def output_kinds(self) -> list[str | None] | None:
        """What the first teacher's outputs mean, where that is known."""
        known: list[str | None] | None = self.members[0][0].output_kinds
        return known

    @property
    def has_labels(self) -> bool:
        """Whether labels are held."""
        return bool(self.members[0][0].has_labels)

    def rows(self, inputs: Any) -> list[np.ndarray]:
        """Where the examples of a batch are, in each member's arrays."""
        found: dict[int, np.ndarray] = {}
        for cache, _ in self.members:
            if id(cache) not in found:
                found[id(cache)] = cache.rows(inputs)
        return [found[id(cache)] for cache, _ in self.members]

    def labels(self, rows: list[np.ndarray]) -> np.ndarray | None:
        """The labels that the first member's data had, or `None`."""
        labels: np.ndarray | None = self.members[0][0].labels(rows[0])
        return labels

    def look_up(
        self, rows: list[np.ndarray], index: int | None = None
    ) -> tuple[tuple[np.ndarray, ...], dict[str, np.ndarray]]:
        """Logits of each output, and of a single member each tap's features."""
        found: list[tuple[tuple[np.ndarray, ...], dict[str, np.ndarray]]] = [
            cache.look_up(chosen, stage)
            for (cache, stage), chosen in zip(self.members, rows, strict=True)
        ]
        if len(found) == 1:
            return found[0]
        by_output = zip(*(logits for logits, _ in found), strict=True)
        kinds = self.output_kinds or [None] * len(self.spec.logits)
        means = []
        for each, name in zip(by_output, kinds, strict=True):
            stacked = np.stack(each)
            means.append(
                kind_of(name, stacked.shape[-1]).mean(stacked, self.of, self.shares)
            )
        return tuple(means), {}

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        return {
            "members": [[serialize(c), i] for c, i in self.members],
            "of": self.of,
            "weights": self.shares,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "CachedMean":
        members = config["members"]
        deserialize = keras.saving.deserialize_keras_object
        pairs = [(deserialize(cache), i) for cache, i in members]
        return cls(pairs, config["of"], config.get("weights"))


def checked_shares(weights: Any, n: int) -> list[float] | None:
    """The weights of `n` teachers, scaled to add up to 1; `None` for equal ones.

    Raises:
        ValueError: they are no such numbers, or not so many.
    """
    if weights is None:
        return None
    listed = np.asarray(weights, dtype=object).ravel().tolist()
    if len(listed) != n or np.ndim(weights) != 1:
        raise ValueError(
            f"`weights` must be one number for each of the {n} teachers. Received: "
            f"{len(listed)}, of shape {np.shape(weights)}"
        )
    checked = [check_number(f"weights[{i}]", w, above=0) for i, w in enumerate(listed)]
    # By the largest first: their sum may be beyond all floats.
    scaled = [w / max(checked) for w in checked]
    shares = [w / sum(scaled) for w in scaled]
    if not all(shares):
        raise ValueError(
            "`weights` must be of comparable size. Received: one that is nothing "
            f"beside {max(checked)}"
        )
    return shares


def check_same_kinds(kinds: Sequence[Sequence[str | None] | None]) -> None:
    """Refuses teachers whose outputs are known to mean different things.

    Args:
        kinds: of each teacher's outputs, as far as they are known.

    Raises:
        ValueError: names two that differ.
    """
    known = [k for k in kinds if k is not None]
    for output in zip(*known, strict=False):
        names = sorted({name for name in output if name is not None})
        if len(names) > 1:
            raise ValueError(
                "Teachers whose mean is taken must give outputs of one kind. Received: "
                f"{' and '.join(names)}"
            )


def unknown_kind_of_mean() -> ValueError:
    """The error of a mean of probabilities of nobody knows what."""
    return ValueError(
        "`output_kind` must say what the outputs mean where their probabilities are "
        "averaged: of='probabilities'. Received: output_kind=None, and teachers that "
        "end in no softmax or sigmoid and were compiled with no loss that tells. Pass "
        "output_kind='categorical' or 'bernoulli' to `mean`, or to "
        "`SupervisionCache.build`."
    )
