"""Who supervises: the protocol that every kind of teacher answers."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import keras

from keras_kd.distiller.arguments import tapped_paths
from keras_kd.forward import find_layer
from keras_kd.outputs import Kind, check_last_activation
from keras_kd.teachers.cache import CachedTeacher
from keras_kd.teachers.live import LiveTeacher
from keras_kd.teachers.reduced_precision import CheaperTeacher, cheaper
from keras_kd.teachers.supervision import Clock, Supervision
from keras_kd.teachers.trained_along import TrainedAlong


class Supervisor(Protocol):
    """A teacher as a distiller sees it: live, cached, or trained along.

    Attributes:
        teacher: what the user gave.
        model: a model of the teacher's inputs, layers and outputs; not always one that
            runs.
        layers: those that losses tap, by path.
        form: `"logits"` or `"probabilities"`, what it gives.
    """

    teacher: Any
    model: keras.Model
    layers: Mapping[str, keras.layers.Layer]
    form: str

    def output_kinds(self, names: list[str]) -> list[Kind | None]:
        """What is known of the outputs of these names, `None` for each that is not."""

    def check(self) -> None:
        """Refuses what cannot teach, before training."""

    def prepare_fit(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments of `fit`, as `keras.Model.fit` is to have them."""

    def prepare_evaluate(self, data: tuple[Any, ...], batch_size: int | None) -> Any:
        """`(x, y, sample_weight)` as `keras.Model.evaluate` is to have them."""

    def state(self) -> Any:
        """What is passed beside each batch to a compiled step, or `None`."""

    def supervise(
        self, batch: Any, state: Any, training: bool
    ) -> tuple[Supervision | None, Any]:
        """What it says before the forward pass, and the batch without it."""

    def accompany(self, inputs: Any, training: bool) -> Supervision | None:
        """What it says within the forward pass, `None` where all has been said."""

    def follow(self, clock: Clock) -> None:
        """Goes through the stages of its training as the clock says."""

    def use(self, stage: int) -> None:
        """Speaks as this stage from now on."""

    def cause_of(self, error: Exception) -> Exception:
        """What is to be told of an error that ended `fit`."""


def supervisor_of(
    teacher: Any,
    form: str,
    losses: list[Any],
    kinds: Sequence[Kind | None],
    *,
    precision: Any = None,
    trained: bool = False,
) -> Supervisor:
    """A teacher that is ready, once all is checked that can be without a student.

    Args:
        teacher: a built `keras.Model`, or predictions that are held in files.
        form: `"logits"` or `"probabilities"`, what it gives.
        losses: the distillation losses, some of which tap its layers.
        kinds: of the outputs, as far as they are declared.
        precision: of a cheaper copy, `None` for the teacher itself.
        trained: whether it is trained along.

    Raises:
        ValueError: it gives something else, has no such layer, or is not finite.
    """
    paths = tapped_paths(losses, "teacher_layer_name")
    if not isinstance(teacher, keras.Model):
        if form != "logits":
            raise ValueError(
                "`teacher_outputs` must be 'logits' for predictions that are held in "
                f"files: logits are what they hold. Received: teacher_outputs={form}"
            )
        return CachedTeacher(teacher, paths)
    check_last_activation(teacher, form, "teacher_outputs", kinds)
    model = teacher if precision is None else cheaper(teacher, precision)
    layers = {path: find_layer(model, path) for path in paths}
    supervisor: LiveTeacher
    if trained:
        supervisor = TrainedAlong(model, form, layers)
    elif precision is not None:
        supervisor = CheaperTeacher(model, form, layers, teacher, kinds)
    else:
        supervisor = LiveTeacher(model, form, layers)
    supervisor.check()
    return supervisor


@contextlib.contextmanager
def telling_cause(supervisor: Supervisor) -> Iterator[None]:
    """Tells the cause of an error inside the block, where the supervisor knows it."""
    try:
        yield
    except Exception as error:
        cause = supervisor.cause_of(error)
        if cause is error:
            raise
        raise cause from None
