"""What each output of a distiller means: once all who know of it have been asked."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_kd.distiller.arguments import compares_outputs, outputs_of_losses
from keras_kd.distiller.supervisor import Supervisor
from keras_kd.forward import output_spec
from keras_kd.outputs import (
    Kind,
    OutputKind,
    categorical,
    check_output_kind,
    declared_kinds,
    inferred_kinds,
    kind_named,
    kind_of_classes,
    name_of,
    output_names,
)

# Assumed of all outputs of which nothing else is known.
OF_CLASSES = "classes"


class OutputKinds:
    """The kind of each output, found when it is first needed.

    Args:
        declared: by the user.
        student: whose outputs they are.

    Raises:
        ValueError: `declared` is not made of names of kinds.

    Attributes:
        declared: by the user.
        assumed: where nothing else is known: a kind for each output, in their order, or
            `OF_CLASSES`; `None` for nothing.
        found: a kind for each output, in their order; `None` until they are known.
    """

    def __init__(self, declared: OutputKind, student: keras.Model):
        self.declared = check_output_kind(declared)
        self.assumed: Any = None
        self.found: list[Kind | None] | None = None
        self._student = student

    @property
    def names(self) -> list[str | None] | None:
        """The kinds by their names."""
        return None if self.found is None else [name_of(k) for k in self.found]

    def names_of(self, outputs: Any) -> list[str]:
        """The names of the student's outputs; none until their structure is known."""
        return [] if outputs is None else output_names(self._student, outputs)

    def forget(self) -> None:
        """Asks anew when it is next needed."""
        self.found = None

    def declared_for(self, model: Any) -> Sequence[Kind | None]:
        """What is declared of a model's outputs, as far as these are known.

        Outputs of the teacher are those of the student, in their order.

        Raises:
            ValueError: other outputs are named.
        """
        outputs = output_spec(model) if isinstance(model, keras.Model) else None
        if outputs is None or self.declared is None:
            return []
        names = output_names(model, outputs)
        own = self.names_of(output_spec(self._student))
        if len(own) == len(names):
            names = own
        elif own and not isinstance(self.declared, str):
            return []  # one word for several students
        elif isinstance(self.declared, Mapping) and not set(self.declared) <= set(
            names
        ):
            return []  # the student's names are not known yet
        return declared_kinds(self.declared, names)

    def find(
        self,
        outputs: Any,
        compiled: Any,
        supervisor: Supervisor | None,
        losses: Mapping[str, Any],
    ) -> list[Kind | None]:
        """The kinds, found once.

        Args:
            outputs: of the student, symbolic or not; `None` while their structure is
                not known.
            compiled: the argument `loss` of `compile`.
            supervisor: is asked what it knows; `None`: there is no teacher.
            losses: the distillation losses, by name.

        Raises:
            ValueError: it is not known and a loss needs to know it, or known to be
                several things, or nothing that a loss is for.
        """
        if self.found is not None or outputs is None:
            return self.found or []
        student, names = self._student, self.names_of(outputs)
        units = [leaf.shape[-1] for leaf in keras.tree.flatten(outputs)]
        of_teacher: list[Kind | None] = [None] * len(names)
        if supervisor is not None:
            of_teacher = supervisor.output_kinds(names)
        of_losses = [compiled, getattr(student, "loss", None)]
        found = _agreed(
            names,
            units,
            declared_kinds(self.declared, names),
            inferred_kinds(names, [student], of_losses),
            of_teacher,
        )
        found = [
            kind or self._assumed(i, k)
            for i, (kind, k) in enumerate(zip(found, units, strict=True))
        ]
        if supervisor is not None:
            found = _fit_for(losses, student, names, units, found)
        self.found = found
        return found

    def _assumed(self, position: int, units: int | None) -> Kind | None:
        if self.assumed == OF_CLASSES:
            return kind_of_classes(units)
        names = self.assumed or []
        name = names[position] if position < len(names) else None
        return None if name is None else kind_named(name)


def _agreed(
    names: Sequence[str],
    units: Sequence[int | None],
    declared: Sequence[Kind | None],
    of_student: Sequence[Kind | None],
    of_teacher: Sequence[Kind | None],
) -> list[Kind | None]:
    """What is known of each output; the user is believed before all others.

    Raises:
        ValueError: student and teacher say different things, or one unit is to be a
            softmax.
    """
    found: list[Kind | None] = []
    for name, k, said, own, other in zip(
        names, units, declared, of_student, of_teacher, strict=True
    ):
        if said is categorical and k == 1:
            raise ValueError(
                "`output_kind` of one unit is 'bernoulli' (it tells two classes apart) "
                "or 'continuous' (it is a value): a softmax over one unit is always 1. "
                f"Received: output_kind='categorical' for output '{name}' of one unit."
            )
        # A loss of classes for one unit: there are two of them.
        by_student = kind_of_classes(k) if own is categorical else own
        if said is None and by_student and other and by_student != other:
            raise ValueError(
                "`output_kind` must be said where student and teacher are of several "
                f"kinds. Received: output '{name}', which is {by_student.NAME} by the "
                f"student and its loss, and {other.NAME} by the teacher. Pass "
                f"output_kind='{by_student.NAME}' or output_kind='{other.NAME}'."
            )
        found.append(said or by_student or other)
    return found


def _fit_for(
    losses: Mapping[str, Any],
    student: keras.Model,
    names: Sequence[str],
    units: Sequence[int | None],
    kinds: Sequence[Kind | None],
) -> list[Kind | None]:
    """The kinds, with those that losses of classes imply.

    Raises:
        ValueError: a loss is about classes and an output is something else, or a loss
            depends on the kind and nobody knows it.
    """
    places = outputs_of_losses(losses, names)
    found: list[Kind | None] = []
    for i, (name, k, kind) in enumerate(zip(names, units, kinds, strict=True)):
        compared = [
            loss
            for loss, place in zip(losses.values(), places, strict=True)
            if place in (None, i) and compares_outputs(loss)
        ]
        of_classes = [loss for loss in compared if _is_of_classes(loss)]
        if of_classes and kind not in (None, kind_of_classes(k)):
            raise ValueError(
                f"{type(of_classes[0]).__name__} is about the probabilities of "
                f"classes. Received: output '{name}' of {k} units with "
                f"output_kind='{name_of(kind)}'. Use `SoftTargets` or `LogitMSE`."
            )
        if kind is None and of_classes:
            kind = kind_of_classes(k)
        if kind is None and any(
            getattr(loss, "needs_kind", False) for loss in compared
        ):
            raise ValueError(
                "`output_kind` must say what the outputs mean where nothing else does. "
                f"Received: output '{name}' of student '{student.name}', {k} units "
                "that end in no softmax or sigmoid, and no compiled loss that tells. "
                "Pass output_kind='categorical' (one class out of several, a "
                "softmax), 'bernoulli' (labels that are there or not, sigmoids) or "
                "'continuous' (values), or a dict of them by the outputs' names."
            )
        found.append(kind)
    return found


def _is_of_classes(loss: Any) -> bool:
    # Keras's applies a softmax to whatever comes.
    return bool(getattr(loss, "of_classes", False)) or isinstance(
        loss, keras.distillation.LogitsDistillation
    )
