"""What each output of a distiller means: once all who know of it have been asked."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_kd.distiller.arguments import compares_outputs
from keras_kd.distiller.supervisor import Supervisor
from keras_kd.forward import output_spec
from keras_kd.outputs import (
    Kind,
    OutputKind,
    categorical,
    declared_kinds,
    inferred_kinds,
    kind_of_classes,
    output_names,
)


class OutputKinds:
    """The kind of each output, found when it is first needed.

    Args:
        declared: by the user.

    Attributes:
        declared: likewise.
        of_classes: whether outputs of which nothing is known tell classes apart, as in
            files of version 0.1.
        found: a kind for each output, in their order; `None` until they are known.
    """

    def __init__(self, declared: OutputKind):
        self.declared = declared
        self.of_classes = False
        self.found: list[Kind | None] | None = None

    @property
    def names(self) -> list[str | None] | None:
        """The kinds by their names."""
        return None if self.found is None else [k and k.NAME for k in self.found]

    def forget(self) -> None:
        """Asks anew when it is next needed."""
        self.found = None

    def find(
        self,
        student: keras.Model,
        outputs: Any,
        compiled: Any,
        supervisor: Supervisor | None,
        losses: Sequence[Any],
    ) -> list[Kind | None]:
        """The kinds, found once.

        Args:
            student: whose outputs they are.
            outputs: symbolic or not; `None` while their structure is not known.
            compiled: the argument `loss` of `compile`.
            supervisor: is asked what it knows; `None`: there is no teacher.
            losses: the distillation losses.

        Raises:
            ValueError: it is not known, or known to be several things.
        """
        if self.found is not None or outputs is None:
            return self.found or []
        names = output_names(student, outputs)
        units = [leaf.shape[-1] for leaf in keras.tree.flatten(outputs)]
        of_teacher: list[Kind | None] = [None] * len(names)
        if supervisor is not None:
            of_teacher = supervisor.output_kinds(names)
        own_loss = getattr(student, "loss", None)
        self.found = known_kinds(
            student,
            names,
            units,
            # They need to know, where there is a teacher to learn from.
            [] if self.of_classes or supervisor is None else list(losses),
            declared_kinds(self.declared, names),
            inferred_kinds(names, [student], [compiled, own_loss]),
            of_teacher,
        )
        if self.of_classes:
            pairs = zip(self.found, units, strict=True)
            self.found = [kind or kind_of_classes(k) for kind, k in pairs]
        return self.found


def declared_for(model: Any, output_kind: OutputKind) -> Sequence[Kind | None]:
    """What is declared of a model's outputs, as far as these are known.

    Raises:
        ValueError: `output_kind` names other outputs.
    """
    outputs = output_spec(model) if isinstance(model, keras.Model) else None
    if outputs is None or output_kind is None:
        return []
    names = output_names(model, outputs)
    if not isinstance(output_kind, str) and len(output_kind) != len(names):
        return []  # one word for several students
    return declared_kinds(output_kind, names)


def known_kinds(
    student: keras.Model,
    names: list[str],
    units: list[int | None],
    losses: list[Any],
    declared: list[Kind | None],
    of_student: list[Kind | None],
    of_teacher: list[Kind | None],
) -> list[Kind | None]:
    """The kind of each output, all that is known taken together.

    Args:
        student: whose outputs they are, for messages.
        names: of the outputs.
        units: of each output.
        losses: the distillation losses.
        declared: by the user: they are believed.
        of_student: what the student and its compiled loss say.
        of_teacher: what the teacher says.

    Returns:
        A kind for each output; where no loss compares outputs, `None` for those of
        which nothing is known.

    Raises:
        ValueError: student and teacher say different things, nobody says anything and
            a loss compares the outputs, or one unit is to be a softmax.
    """
    of_classes = any(getattr(loss, "of_classes", False) for loss in losses)
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
        if own is categorical:
            own = kind_of_classes(k)
        if said is None and own is not None and other is not None and own != other:
            raise ValueError(
                "`output_kind` must be said where student and teacher are of several "
                f"kinds. Received: output '{name}', which is {own.NAME} by the student "
                f"and its loss, and {other.NAME} by the teacher. Pass "
                f"output_kind='{own.NAME}' or output_kind='{other.NAME}'."
            )
        kind = said or own or other
        if kind is None and of_classes:
            kind = kind_of_classes(k)
        if kind is None and any(map(compares_outputs, losses)):
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
