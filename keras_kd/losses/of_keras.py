"""A loss of Keras as a distillation loss, where it is clear which one is meant."""

from typing import Any, NoReturn

import keras

from keras_kd.arguments import shown
from keras_kd.losses.logit_mse import LogitMSE
from keras_kd.losses.soft_targets import SoftTargets

_SQUARED_ERROR = (keras.losses.MeanSquaredError, keras.losses.mean_squared_error)
_DIVERGENCE = (keras.losses.KLDivergence, keras.losses.kl_divergence)
_CROSS_ENTROPY = (
    keras.losses.CategoricalCrossentropy,
    keras.losses.categorical_crossentropy,
)
_LABELS = (
    keras.losses.BinaryCrossentropy,
    keras.losses.binary_crossentropy,
)


def distillation_loss_of(name: str, loss: Any) -> keras.distillation.DistillationLoss:
    """What a loss of Keras means between a teacher and a student.

    Losses receive logits. The squared error is theirs; a Kullback-Leibler divergence,
    or a cross-entropy from logits, is that of what they predict, at temperature 1.

    Args:
        name: of the loss, for the error.
        loss: a distillation loss, which is returned as it is; or a
            `keras.losses.Loss`, a function of Keras, or the name of one.

    Raises:
        ValueError: it is no loss, or what it would mean is not clear; the message says
            what to write.
    """
    if isinstance(loss, keras.distillation.DistillationLoss):
        return loss
    plain = _found(loss)
    if _is(plain, _SQUARED_ERROR):
        _check_mean(name, plain)
        return LogitMSE()
    if _is(plain, _DIVERGENCE):
        _check_mean(name, plain)
        return SoftTargets(temperature=1.0)
    if _is(plain, _CROSS_ENTROPY) or _is(plain, _LABELS):
        _check_cross_entropy(name, plain)
        return SoftTargets(temperature=1.0, divergence="cross_entropy")
    if isinstance(plain, keras.losses.Loss) or (
        callable(plain) and not isinstance(plain, type)
    ):
        _refuse(
            name,
            loss,
            "For a loss between softmax predictions write "
            "`keras.distillation.LogitsDistillation(loss=..., temperature=1.0)`; one "
            "of labels is a loss of `compile`; for another one of logits subclass "
            "`keras.distillation.DistillationLoss`.",
        )
    way = "Call the class." if isinstance(loss, type) else ""
    _refuse(name, loss, way)


def _found(loss: Any) -> Any:
    """The loss that a name stands for, or the loss itself."""
    if isinstance(loss, str):
        try:
            return keras.losses.get(loss)
        except ValueError:
            return None
    return loss


def _is(loss: Any, family: tuple[type, Any]) -> bool:
    # Exactly: a subclass may compute anything.
    return type(loss) is family[0] or loss is family[1]


def _check_mean(name: str, loss: Any) -> None:
    reduction = getattr(loss, "reduction", "sum_over_batch_size")
    if reduction not in ("sum_over_batch_size", "mean", "mean_with_sample_weight"):
        _refuse(
            name,
            loss,
            "Distillation losses are means: leave out "
            f"reduction={reduction!r} and weigh with `distillation_loss_weights`.",
        )


def _check_cross_entropy(name: str, loss: Any) -> None:
    if _is(loss, _LABELS):
        _refuse(
            name,
            loss,
            "For sets of labels write `SoftTargets(temperature=1.0, "
            "divergence='cross_entropy')` and output_kind='bernoulli'.",
        )
    config = loss.get_config() if isinstance(loss, keras.losses.Loss) else {}
    if not config.get("from_logits") or config.get("axis", -1) != -1:
        _refuse(
            name,
            loss,
            "Losses receive logits, of classes in the last axis: write "
            "`CategoricalCrossentropy(from_logits=True)`, or `SoftTargets("
            "temperature=1.0, divergence='cross_entropy')`, which it stands for.",
        )
    if config.get("label_smoothing"):
        _refuse(
            name,
            loss,
            f"A teacher's word is not smoothed: leave out label_smoothing="
            f"{config['label_smoothing']}.",
        )
    _check_mean(name, loss)


def _refuse(name: str, loss: Any, way: str = "") -> NoReturn:
    received = repr(loss) if isinstance(loss, str) else _described(loss)
    raise ValueError(
        "`distillation_losses` must hold `keras.distillation.DistillationLoss` "
        f"objects. Received: {name}={received}. {way}".rstrip()
    )


def _described(loss: Any) -> str:
    if isinstance(loss, type):
        return f"the class {loss.__name__}"
    if isinstance(loss, keras.losses.Loss):
        return f"a `keras.losses.{type(loss).__name__}`"
    return f"{shown(loss)} of type {type(loss).__name__}"
