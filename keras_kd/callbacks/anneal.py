"""A number of a distiller that changes while it trains."""

from collections.abc import Callable
from typing import Any

import keras

from keras_kd.arguments import check_choice
from keras_kd.distiller.live_numbers import live_numbers


class Anneal(keras.callbacks.Callback):
    """Sets `alpha`, or a number of a distillation loss, before each batch of `fit`.

    Nothing is compiled anew. The epoch logs hold the last value of each epoch, as
    `alpha`, or `<loss>_temperature`. After `fit` the last value stays.

    Args:
        number: `"alpha"` of the distiller; or of a loss `"temperature"`, or another
            number of it.
        schedule: `step -> value`, `step` the batches since epoch 0: a callable, or a
            `keras.optimizers.schedules.LearningRateSchedule`.
        loss: the name of the loss whose number it is, as in
            `distiller.distillation_loss_names`; `None` for that of the distiller, or
            of its only loss.

    Raises:
        ValueError: `schedule` cannot be called. When training begins: there is no such
            loss, or it has no such number. During training: the value is out of the
            number's range; or `fit` begins later than at epoch 0 with data of unknown
            length, where the step is not known.

    Source: Jafari et al., "Annealing Knowledge Distillation", EACL 2021 (temperature);
    Clark et al., "BAM!", ACL 2019 (from the teacher to the labels, linearly).

    Example:

    >>> import keras, keras_kd, numpy as np
    >>> from keras_kd.callbacks import Anneal
    >>> def network():
    ...     return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    >>> x, y = np.ones((8, 4), "float32"), np.zeros(8, "int32")
    >>> distiller = keras_kd.Distiller(network(), network(), alpha=1.0)
    >>> loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    >>> distiller.compile("sgd", loss)
    >>> to_labels = Anneal("alpha", lambda step: 1 - step / 4)
    >>> warm = keras.optimizers.schedules.PolynomialDecay(8.0, 4, end_learning_rate=1.0)
    >>> history = distiller.fit(
    ...     x, y, batch_size=4, epochs=2, verbose=0,
    ...     callbacks=[to_labels, Anneal("temperature", warm)],
    ... ).history
    >>> history["alpha"], history["soft_targets_temperature"]
    ([0.75, 0.25], [6.25, 2.75])
    """

    # `Distiller.fit` runs it before callbacks that read the epoch logs.
    writes_epoch_logs = True

    def __init__(
        self, number: str, schedule: Callable[[int], Any], loss: str | None = None
    ):
        super().__init__()
        if not isinstance(number, str) or not number:
            raise ValueError(
                f"`number` must be a name, as 'alpha'. Received: number={number!r}"
            )
        if not callable(schedule):
            raise ValueError(
                "`schedule` must be a callable of the step, or a "
                "`keras.optimizers.schedules.LearningRateSchedule`. Received: "
                f"schedule={schedule!r}"
            )
        if loss is not None and not (isinstance(loss, str) and loss):
            raise ValueError(
                "`loss` must be the name of a distillation loss, or None. Received: "
                f"loss={loss!r}"
            )
        self.number = number
        self.schedule = schedule
        self.loss = loss
        self._owner: Any = None
        self._log = number
        self._step = 0

    def __repr__(self) -> str:
        loss = "" if self.loss is None else f", loss={self.loss!r}"
        return f"Anneal({self.number!r}, {self.schedule!r}{loss})"

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._owner, self._log = self._owner_and_log()
        self._step = 0
        self._set()

    def _owner_and_log(self) -> tuple[Any, str]:
        names = getattr(self.model, "distillation_loss_names", None)
        if names is None:
            raise ValueError(
                "`Anneal` is a callback of a `keras_kd.Distiller`. Received: model "
                f"'{self.model.name}' of type {type(self.model).__name__}"
            )
        if self.loss is None and self.number == "alpha":
            return self.model, "alpha"
        if self.loss is None and len(names) > 1:
            raise ValueError(
                f"`loss` must be one of {names}: which loss's {self.number} is it? "
                "Received: loss=None"
            )
        name = names[0] if self.loss is None else self.loss
        check_choice("loss", name, names)
        loss = self.model.distillation_losses[names.index(name)]
        live = live_numbers(loss)
        check_choice("number", self.number, live)
        return loss, f"{name}_{self.number}"

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        steps = (self.params or {}).get("steps")
        if steps is not None:
            self._step = epoch * steps
        elif epoch and not self._step:
            raise ValueError(
                "`Anneal` must know how many batches an epoch has where `fit` does not "
                f"begin at epoch 0. Received: initial_epoch={epoch} and data of "
                "unknown length. Pass `steps_per_epoch`."
            )

    def on_train_batch_begin(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        self._set()

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        self._step += 1

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if logs is not None:
            logs[self._log] = getattr(self._owner, self.number)

    def _set(self) -> None:
        value = self.schedule(self._step)
        setattr(self._owner, self.number, float(keras.ops.convert_to_numpy(value)))
