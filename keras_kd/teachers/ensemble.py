"""The mean of several teachers, as one supervision."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import keras
from keras import ops

from keras_kd.arguments import check_choice, check_instance
from keras_kd.forward import output_spec
from keras_kd.outputs import (
    Kind,
    OutputKind,
    check_output_kind,
    declared_kinds,
    kind_of_classes,
    last_activations,
    name_of,
    output_names,
)
from keras_kd.teachers.cache import CachedMean, SupervisionCache
from keras_kd.teachers.cache.mean import (
    MEANS,
    check_same_kinds,
    checked_shares,
    unknown_kind_of_mean,
)
from keras_kd.teachers.live import LiveTeacher
from keras_kd.teachers.trajectory import TeacherTrajectory


def mean(
    teachers: TeacherTrajectory | Sequence[Any],
    of: Literal["logits", "probabilities"] = "logits",
    output_kind: OutputKind = None,
    weights: Sequence[float] | None = None,
) -> "MeanTeacher | CachedMean":
    """The mean of an ensemble, or of a trajectory's checkpoints, as a teacher.

    Args:
        teachers: built `keras.Model`s that give logits, a `TeacherTrajectory` (of whose
            checkpoints each becomes a model in memory), or `SupervisionCache`s, of
            each of which the last stage counts. For several stages of one cache see
            `SupervisionCache.mean`.
        of: whether logits are averaged (a geometric mean of probabilities, at every
            temperature) or probabilities at temperature 1.
        output_kind: what the outputs mean, as in `keras_kd.Distiller`; `None`: as the
            teachers' compiled loss or last activation tell. Caches know it themselves.
            The mean of probabilities has to know it.
        weights: one for each teacher, > 0, scaled to add up to 1; `None` for equal
            ones.

    Returns:
        A teacher for `Distiller`: a `MeanTeacher`, or of caches a cached one.

    Raises:
        ValueError: no teachers, some that are not built, or models and caches; teachers
            of other classes, or that end in a softmax or sigmoid; or it is not known
            what outputs mean whose probabilities are to be averaged; or `weights` are
            no such numbers.

    Example:

    >>> def network():
    ...     return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    >>> one, other = network(), network()
    >>> x = np.ones((2, 4))
    >>> both = mean([one, other]).predict(x, verbose=0)
    >>> expected = (one.predict(x, verbose=0) + other.predict(x, verbose=0)) / 2
    >>> print(np.allclose(both, expected, atol=1e-6))
    True

    Source: Hinton, Vinyals & Dean, "Distilling the Knowledge in a Neural Network",
    2015, section 2 (arithmetic or geometric mean of an ensemble).
    """
    if isinstance(teachers, TeacherTrajectory):
        recorded: Any = teachers.output_kinds or None
        output_kind = output_kind or recorded
        teachers = [teachers.load(i) for i in range(len(teachers))]
    check_instance(
        "teachers", teachers, Iterable, "models or caches, or a `TeacherTrajectory`"
    )
    teachers = list(teachers)
    if teachers and all(isinstance(t, SupervisionCache) for t in teachers):
        members = [(cache, cache[-1].index) for cache in teachers]
        return CachedMean(members, of, weights)
    mean_teacher = MeanTeacher(teachers, of, output_kind, weights)
    outputs = output_spec(mean_teacher.teachers[0])
    if of == "probabilities" and outputs is not None:
        names = output_names(mean_teacher.teachers[0], outputs)
        if None in mean_teacher.known_output_kinds(names):
            raise unknown_kind_of_mean()
    return mean_teacher


@keras.saving.register_keras_serializable(package="keras_kd")
class MeanTeacher(keras.Model):
    """A model that gives the mean of several models' logits. See `mean`.

    Args:
        teachers: built models, of the same outputs.
        of: `"logits"` or `"probabilities"`.
        output_kind: as in `mean`.
        weights: likewise.
        name: the model's name.

    Raises:
        ValueError: no teachers, something that is no built model, or teachers that do
            not give logits of the same outputs; or `weights` are no such numbers.
    """

    def __init__(
        self,
        teachers: Sequence[keras.Model],
        of: Literal["logits", "probabilities"] = "logits",
        output_kind: OutputKind = None,
        weights: Sequence[float] | None = None,
        name: str = "mean_teacher",
        **kwargs: Any,
    ):
        if not teachers or not all(
            isinstance(t, keras.Model) and t.built for t in teachers
        ):
            raise ValueError(
                "`teachers` must be built `keras.Model`s, or caches, at least one. "
                f"Received: teachers={teachers}"
            )
        check_choice("of", of, MEANS)
        shares = checked_shares(weights, len(teachers))
        output_kind = check_output_kind(output_kind)
        _check_outputs(teachers, output_kind)
        # Inputs reach the teachers as they are; each casts for itself.
        super().__init__(name=name, autocast=False, **kwargs)
        self.teachers = list(teachers)
        self.of = of
        self.output_kind = output_kind
        # `weights` are a model's variables.
        self.shares = shares
        # In files of version 0.1 all outputs tell classes apart.
        self._of_classes = False
        self.built = True

    def known_output_kinds(self, names: list[str]) -> list[Kind | None]:
        """What is known of the outputs: they are those of each teacher."""
        known = [
            LiveTeacher(t, "logits", {}).output_kinds(names) for t in self.teachers
        ]
        said = declared_kinds(self.output_kind, names)
        return [
            next(filter(None, each), None) for each in zip(said, *known, strict=True)
        ]

    def call(self, inputs: Any) -> Any:
        """The mean of what the teachers give."""
        outputs = [teacher(inputs) for teacher in self.teachers]
        kinds = self.known_output_kinds(output_names(self.teachers[0], outputs[0]))
        means = []
        for each, kind in zip(
            zip(*map(keras.tree.flatten, outputs), strict=True), kinds, strict=True
        ):
            stacked = ops.stack([ops.cast(z, "float32") for z in each])
            if kind is None and self.of == "probabilities" and not self._of_classes:
                raise unknown_kind_of_mean()
            of_kind = kind or kind_of_classes(stacked.shape[-1])
            means.append(of_kind.mean(stacked, self.of, self.shares))
        return keras.tree.pack_sequence_as(outputs[0], means)

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "teachers": [serialize(teacher) for teacher in self.teachers],
            "of": self.of,
            "output_kind": self.output_kind,
            "weights": self.shares,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "MeanTeacher":
        of_classes = "output_kind" not in config
        config = dict(config)
        deserialize = keras.saving.deserialize_keras_object
        config["teachers"] = [deserialize(teacher) for teacher in config["teachers"]]
        teacher = cls(**config)
        teacher._of_classes = of_classes
        return teacher


def _check_outputs(teachers: Sequence[keras.Model], output_kind: OutputKind) -> None:
    """Refuses teachers that give something else than one another, or no logits."""
    first, kinds = output_spec(teachers[0]), []
    for teacher in teachers:
        outputs = output_spec(teacher)
        if outputs is None or first is None:
            continue  # it is seen when they run
        if _shapes(outputs) != _shapes(first):
            raise ValueError(
                "`teachers` must give the same outputs, of the same classes. Received: "
                f"shapes {_shapes(first)} of '{teachers[0].name}' and "
                f"{_shapes(outputs)} of '{teacher.name}'"
            )
        names = output_names(teacher, outputs)
        declared = declared_kinds(output_kind, names)
        for activation, kind in zip(last_activations(teacher), declared, strict=False):
            if activation in ("softmax", "sigmoid") and name_of(kind) != "continuous":
                raise ValueError(
                    f"`teachers` must give logits. Received: '{teacher.name}', which "
                    f"ends in {activation}. End it in a linear layer, or take the mean "
                    "of caches, `SupervisionCache.build(teacher, ..., "
                    "teacher_outputs='probabilities')`."
                )
        known = LiveTeacher(teacher, "logits", {}).output_kinds(names)
        kinds.append([name_of(a or b) for a, b in zip(declared, known, strict=True)])
    check_same_kinds(kinds)


def _shapes(outputs: Any) -> Any:
    return keras.tree.map_structure(lambda leaf: tuple(leaf.shape[1:]), outputs)
