"""How all networks are trained here: one optimizer, one call of `fit`."""

import time
from collections.abc import Sequence

import keras
import numpy as np

from keras_kd.datasets import Batches
from keras_kd.experiments.evaluation import BATCH
from keras_kd.experiments.snapshot import Snapshot


def optimizer(
    learning_rate: float, total_steps: int, milestones: Sequence[float] = ()
) -> keras.optimizers.Optimizer:
    """SGD with Nesterov momentum and clipping, its rate by cosine or by steps.

    Args:
        learning_rate: the highest rate. With cosine decay it is reached after a
            twentieth of the steps; by steps it is the first.
        total_steps: batches in all.
        milestones: ascending shares of the steps, in (0, 1), after each of which the
            rate is a tenth of what it was; empty for cosine decay.
    """
    schedule: keras.optimizers.schedules.LearningRateSchedule
    if milestones:
        schedule = keras.optimizers.schedules.PiecewiseConstantDecay(
            # A boundary is the last step, from 0, with the rate before it.
            [round(share * total_steps) - 1 for share in milestones],
            [learning_rate / 10**i for i in range(len(milestones) + 1)],
        )
    else:
        warmup = max(1, total_steps // 20)
        schedule = keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=0.0,
            decay_steps=max(1, total_steps - warmup),
            warmup_target=learning_rate,
            warmup_steps=warmup,
        )
    return keras.optimizers.SGD(
        schedule, momentum=0.9, nesterov=True, global_clipnorm=1.0
    )


def fit(
    model: keras.Model,
    batches: Batches,
    validation: tuple[np.ndarray, np.ndarray] | None,
    *,
    epochs: int,
    learning_rate: float,
    milestones: Sequence[float] = (),
    loss: keras.losses.Loss | None = None,
    callbacks: list[keras.callbacks.Callback] | None = None,
    snapshot: Snapshot | None = None,
) -> tuple[dict[str, list[float]], float]:
    """Compiles and trains a model as all studies do.

    Args:
        model: a student, a teacher, or a `Distiller`.
        batches: the training examples, in an order of their own.
        validation: images and labels to look at after each epoch.
        epochs: passes over the batches, in all.
        learning_rate: the highest of the schedule.
        milestones: of a schedule by steps, as for `optimizer`.
        loss: of the labels; `None` for cross-entropy.
        callbacks: further ones.
        snapshot: goes on from there, and writes there after each epoch.

    Returns:
        The epoch logs, a list per key, and the seconds that training took.
    """
    model.compile(
        optimizer=optimizer(learning_rate, epochs * len(batches), milestones),
        loss=loss or keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
    )
    callbacks = [batches.epoch_callback(), *(callbacks or [])]
    begin = 0
    if snapshot is not None:
        begin = snapshot.restore(model)
        callbacks.append(snapshot)
    start = time.perf_counter()
    history = model.fit(
        batches,
        initial_epoch=begin,
        epochs=epochs,
        validation_data=validation,
        validation_batch_size=BATCH,
        shuffle=False,  # the batches have an order of their own
        callbacks=callbacks,
        verbose=0,
    ).history
    if snapshot is not None:
        return snapshot.history, snapshot.seconds
    seconds = time.perf_counter() - start
    return {k: [float(v) for v in values] for k, values in history.items()}, seconds
