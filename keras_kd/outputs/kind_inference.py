"""Which kind each output of a model is, as far as it is said or can be seen.

What is certain: the kind that the user declares; a softmax at the end; the loss that
the model is compiled with; then a sigmoid at the end, which may also be a value between
0 and 1 where the loss is a squared error. A linear layer says nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_kd.arguments import check_choice
from keras_kd.outputs import bernoulli, categorical, continuous
from keras_kd.outputs.activation import last_activations
from keras_kd.outputs.kinds import KINDS, Kind, OutputKind, kind_named

_losses = keras.losses
# By the functions behind Keras's losses, strings and objects alike.
_OF_LOSSES: dict[Any, Kind] = {
    _losses.categorical_crossentropy: categorical,
    _losses.sparse_categorical_crossentropy: categorical,
    _losses.categorical_focal_crossentropy: categorical,
    _losses.kl_divergence: categorical,
    _losses.binary_crossentropy: bernoulli,
    _losses.binary_focal_crossentropy: bernoulli,
    _losses.mean_squared_error: continuous,
    _losses.mean_absolute_error: continuous,
    _losses.mean_absolute_percentage_error: continuous,
    _losses.mean_squared_logarithmic_error: continuous,
    _losses.huber: continuous,
    _losses.log_cosh: continuous,
}


def check_output_kind(output_kind: Any) -> Any:
    """`output_kind`, refused where it is not made of names of kinds.

    Raises:
        ValueError: names the argument and the value.
    """
    if output_kind is None:
        return None
    if isinstance(output_kind, Mapping):
        declared: list[Any] = list(output_kind.values())
    elif isinstance(output_kind, list | tuple):
        declared = list(output_kind)
    else:
        declared = [output_kind]
        check_choice("output_kind", output_kind, tuple(KINDS))
    for kind in declared:
        check_choice(
            "output_kind",
            kind,
            (None, *KINDS),
            expected=f"one of {list(KINDS)}, or one of them for each output",
        )
    return output_kind


def output_names(model: Any, outputs: Any) -> list[str]:
    """The name of each output, in the order of the leaves.

    Args:
        model: whose outputs they are.
        outputs: structure of tensors, symbolic or not.
    """
    leaves = keras.tree.flatten(outputs)
    if isinstance(outputs, Mapping) and len(outputs) == len(leaves):
        return sorted(outputs)  # as `keras.tree.flatten` orders them
    names = getattr(model, "output_names", None)
    if names is None or len(names) != len(leaves):
        names = [f"output_{i}" for i in range(len(leaves))]
    return list(names)


def declared_kinds(output_kind: OutputKind, names: Sequence[str]) -> list[Kind | None]:
    """The kinds that the user has said, one for each output, `None` for the others.

    Raises:
        ValueError: `output_kind` names other outputs, or another number of them.
    """
    if output_kind is None or isinstance(output_kind, str):
        each: list[Any] = [output_kind] * len(names)
    elif isinstance(output_kind, Mapping):
        unknown = set(output_kind) - set(names)
        if unknown:
            raise ValueError(
                f"`output_kind` must name outputs of the student, {list(names)}. "
                f"Received: names {sorted(map(str, unknown))}"
            )
        each = [output_kind.get(name) for name in names]
    else:
        if len(output_kind) != len(names):
            raise ValueError(
                f"`output_kind` must have one kind for each of the {len(names)} "
                f"outputs. Received: {len(output_kind)} kinds"
            )
        each = list(output_kind)
    return [None if kind is None else kind_named(kind) for kind in each]


def compiled_kinds(loss: Any, names: Sequence[str]) -> list[Kind | None]:
    """What the argument `loss` of `compile` says of each output.

    Args:
        loss: as `keras.Model.compile` takes it.
        names: of the outputs.
    """
    if isinstance(loss, Mapping):
        each = [loss.get(name) for name in names]
    elif isinstance(loss, list | tuple):
        each = list(loss) if len(loss) == len(names) else [None] * len(names)
    else:
        each = [loss] * len(names)
    return [_kind_of_loss(one) for one in each]


def _kind_of_loss(loss: Any) -> Kind | None:
    # A loss of one's own may say it.
    if isinstance(declared := getattr(loss, "output_kind", None), str):
        return KINDS.get(declared)
    try:
        return _OF_LOSSES.get(function_of_loss(loss))
    except TypeError:  # what cannot be hashed is none of Keras's
        return None


def function_of_loss(loss: Any) -> Any:
    """The function behind a loss, by its name or not; `None` for an unknown name."""
    if isinstance(loss, str):
        try:
            loss = keras.losses.get(loss)
        except ValueError:
            return None
    return getattr(loss, "fn", loss)


def inferred_kinds(
    names: Sequence[str],
    models: Sequence[Any],
    losses: Sequence[Any],
) -> list[Kind | None]:
    """The kind of each output, from what is certain, `None` where nothing is.

    Args:
        names: of the outputs.
        models: whose last activations are asked, the first that knows is believed.
        losses: arguments `loss` of `compile`, asked in this order.
    """
    activations = [last_activations(model) for model in models]
    of_losses = [compiled_kinds(loss, names) for loss in losses if loss is not None]
    found: list[Kind | None] = []
    for i in range(len(names)):
        # Those of a model with another number of outputs say nothing of these.
        ends = {each[i] for each in activations if len(each) == len(names)}
        kind: Kind | None = categorical if "softmax" in ends else None
        kind = kind or next((of[i] for of in of_losses if of[i] is not None), None)
        if kind is None and "sigmoid" in ends:
            kind = bernoulli
        found.append(kind)
    return found
