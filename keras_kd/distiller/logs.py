"""What a distiller logs: losses by name, and fidelity to the teacher."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras

from keras_kd.backend import replica_count
from keras_kd.distiller.arguments import outputs_of_losses
from keras_kd.losses.leafwise import one_per_leaf
from keras_kd.metrics import Fidelity
from keras_kd.outputs import Kind, name_of


class DistillationLogs:
    """The metrics of a distiller, and which of them there is something to say of.

    A plain object, which Keras does not track: what was logged is in no saved file.

    Args:
        losses: the distillation losses, by name.

    Attributes:
        places: the position of the only output that each loss is for, or `None`.
    """

    def __init__(self, losses: Mapping[str, Any]):
        mean = keras.metrics.Mean
        self._losses = losses
        self.places: list[int | None] = [None] * len(losses)
        self.student_loss = mean(name="student_loss")
        self.distillation_loss = mean(name="distillation_loss")
        self.teacher_loss = mean(name="teacher_loss")
        self.named_losses = (
            [mean(name=f"{name}_loss") for name in losses] if len(losses) > 1 else []
        )
        self.fidelity = Fidelity(name="fidelity")
        self.output_fidelities: list[Fidelity] = []

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """All of them, in the order of the logs."""
        return [
            self.student_loss,
            self.distillation_loss,
            self.teacher_loss,
            *self.named_losses,
            self.fidelity,
            *self.output_fidelities,
        ]

    def build(self, output_names: Sequence[str]) -> None:
        """Creates the fidelities of several outputs, once these are known.

        Raises:
            ValueError: names of losses do not tell for which outputs they are.
        """
        if len(output_names) > 1 and not self.output_fidelities:
            self.places = outputs_of_losses(self._losses, output_names)
            for metric, place in zip(self.named_losses, self.places, strict=False):
                if place is not None:  # `<output>_loss` is that of `compile`
                    metric.name = f"{output_names[place]}_distillation_loss"
            self.output_fidelities = [Fidelity(f"{n}_fidelity") for n in output_names]

    def record(self, metric: keras.metrics.Metric, value: Any, rows: Any) -> None:
        """Counts a loss of one batch.

        Args:
            metric: one of these.
            value: the mean over the examples.
            rows: how many they are.
        """
        # A loss carries 1 / replicas, so that the replicas' gradients add up to that
        # of the mean. What is logged does not.
        metric.update_state(value * replica_count(), sample_weight=rows)

    def record_named(self, number: int, value: Any, rows: Any) -> None:
        """Counts one of several distillation losses, by its number."""
        if self.named_losses:
            self.record(self.named_losses[number], value, rows)

    def record_fidelity(
        self,
        teacher: Any,
        student: Any,
        kinds: Sequence[Kind | None],
        sample_weight: Any = None,
    ) -> None:
        """Counts the agreement on one batch, of each output on which there is one.

        Args:
            teacher: structure of logits.
            student: likewise.
            kinds: of each output; one that no loss needs to know may be `None`, and
                counts as classes.
            sample_weight: for all outputs or each. Those of positions count, as a
                mask does; those of whole examples do not, as in `compile(metrics=)`.
        """
        weights = one_per_leaf("sample_weight", sample_weight, student)
        pairs = zip(
            keras.tree.flatten(teacher),
            keras.tree.flatten(student),
            kinds,
            weights,
            strict=True,
        )
        for i, (one, other, kind, weight) in enumerate(pairs):
            same_shape = tuple(one.shape[1:]) == tuple(other.shape[1:])
            if (kind is None or kind.DECIDES) and same_shape:
                name = name_of(kind)
                weight = weight if _is_of_positions(weight, other) else None
                counted = [self.fidelity, *self.output_fidelities[i : i + 1]]
                for metric in counted:
                    metric.update_state(one, other, weight, output_kind=name)

    def silent(self, kinds: Sequence[Kind | None], supervised: bool) -> list[Any]:
        """The metrics that have nothing to say of a step, those of the labels apart.

        Args:
            kinds: of the outputs: on some nothing is decided.
            supervised: whether a teacher has spoken.
        """
        if not supervised:
            return [
                self.distillation_loss,
                self.fidelity,
                *self.named_losses,
                *self.output_fidelities,
            ]
        undecided = [kind is not None and not kind.DECIDES for kind in kinds]
        found: list[Any] = [self.fidelity] if kinds and all(undecided) else []
        return found + [
            metric
            for metric, silent in zip(self.output_fidelities, undecided, strict=False)
            if silent
        ]


def _is_of_positions(weight: Any, outputs: Any) -> bool:
    return (
        weight is not None
        and len(outputs.shape) > 2
        and any(size != 1 for size in weight.shape[1:])
    )


def results(metrics: Iterable[Any], left_out: Iterable[Any]) -> dict[str, Any]:
    """The logs of `metrics`, without some of them."""
    silent = {id(metric) for metric in left_out}
    logs: dict[str, Any] = {}
    for metric in metrics:
        if id(metric) not in silent:
            result = metric.result()
            logs.update(result if isinstance(result, dict) else {metric.name: result})
    return logs
