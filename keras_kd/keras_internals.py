"""All that touches a private name of Keras.

Keras has no public door to what follows, and may rename any of it. Each name has one
function here; all of them are tried when this module is imported, as far as that can
be done without making a tensor.
"""

import contextlib
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import keras

WORKING_VERSIONS = "Keras 3.12 to 3.15"
"""The versions that the tests run on."""


def _unknown(name: object) -> ImportError:
    return ImportError(
        f"keras_kd works with {WORKING_VERSIONS} (keras>=3.12). Received: Keras "
        f"{keras.__version__}, which lacks something that it builds on: {name}"
    )


try:
    from keras.src.backend.common import dtypes as _dtypes
    from keras.src.backend.common import global_state as _global_state
    from keras.src.backend.common import masking as _masking
    from keras.src.trainers import data_adapters as _data_adapters
    from keras.src.trainers.data_adapters import array_slicing as _array_slicing
    from keras.src.trainers.data_adapters.data_adapter import DataAdapter as DataAdapter
except ImportError as error:
    raise _unknown(error) from error


# Masks


def mask_of(tensor: Any) -> Any:
    """The mask of a tensor, or `None`: some tensors take no attributes.

    Keras keeps the masks of those elsewhere.
    """
    return _masking.get_keras_mask(tensor)


def set_mask(tensor: Any, mask: Any) -> None:
    """Gives a tensor a mask, as `mask_of` finds it: arithmetic loses them."""
    _masking.set_keras_mask(tensor, mask)


# The data of `fit`


def data_adapter(
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    batch_size: int | None = None,
    steps_per_epoch: int | None = None,
    shuffle: bool = False,
    class_weight: Mapping[int, float] | None = None,
) -> DataAdapter:
    """What `fit` makes of its data: order and batches are to be those of `fit`.

    `fit` takes a `DataAdapter` of one's own too, and the class is not public.
    """
    return _data_adapters.get_data_adapter(
        x,
        y,
        sample_weight=sample_weight,
        batch_size=batch_size,
        steps_per_epoch=steps_per_epoch,
        shuffle=shuffle,
        class_weight=class_weight,
    )


def split_for_validation(arrays: Any, share: float) -> tuple[Any, Any]:
    """`(the first, the last share)` of arrays, as `fit(validation_split=...)` does it.

    Who joins something to the data before `fit` sees them has to split them before.
    """
    first, last = _array_slicing.train_validation_split(arrays, validation_split=share)
    return first, last


# What `compile` has made


def compiled_loss(model: keras.Model) -> Any:
    """What `compile(loss=...)` has made, or `None`: outputs, weights and masks in one.

    Args:
        model: compiled or not.

    Returns:
        A callable `(y, y_pred, sample_weight)` with `metrics`.
    """
    return model._compile_loss


def another_compiled_loss(
    model: keras.Model, output_names: Sequence[str] | None
) -> Any:
    """A second one of the same losses and weights: each keeps a record per output."""
    first = model._compile_loss
    return type(first)(model.loss, first._user_loss_weights, output_names=output_names)


def compiled_metrics(model: keras.Model) -> keras.metrics.Metric | None:
    """The metrics of `compile`, as one, or `None`: they are asked only with labels."""
    return model._compile_metrics


def labels_are_new(model: keras.Model) -> bool:
    """Whether what `compile` has made has not seen labels yet, and made no variables.

    Args:
        model: compiled.
    """
    made = (model._compile_loss, model._compile_metrics)
    return any(part is not None and not part.built for part in made)


def build_symbolically(model: keras.Model, batch: Any) -> None:
    """Makes all variables that steps on such a batch need, as Keras does it for some.

    Args:
        model: compiled.
        batch: `(x, y, sample_weight)` of anything with shapes and dtypes, or `None`.
    """
    model._symbolic_build(data_batch=batch)


def additional_loss(model: keras.Model, loss: Any) -> Any:
    """A regulariser's loss as Keras adds it: summed, and divided among the replicas."""
    return model._aggregate_additional_loss(loss)


# Layers


def flatten_layers(
    layer: keras.layers.Layer, include_self: bool = True, recursive: bool = True
) -> list[keras.layers.Layer]:
    """A layer and those inside, also of subclassed models: `layers` is not nested."""
    return list(layer._flatten_layers(include_self=include_self, recursive=recursive))


def own_weights(layer: keras.layers.Layer) -> list[keras.Variable]:
    """The trainable weights that a layer holds itself, without those of inner layers.

    `trainable_variables` has both, and shared weights in several places.
    """
    return list(layer._trainable_variables)


def takes_training(layer: keras.layers.Layer) -> bool:
    """Whether the layer's `call` may be passed `training`: others refuse it."""
    return bool(layer._call_has_training_arg)


def is_rematerialized(layer: keras.layers.Layer) -> bool:
    """Whether the layer was made in a `keras.RematScope`, which runs it as a whole."""
    return bool(layer._remat_mode)


def is_seed_state(variable: keras.Variable) -> bool:
    """Whether a variable is the state of a `SeedGenerator`: layers do not list theirs.

    Told by the name that Keras gives it.
    """
    path: str = variable.path
    return path.endswith("seed_generator_state")


# The graph of a functional model


def symbolic_inputs(model: keras.Model) -> Any:
    """The structure of inputs that a functional or sequential model was built on.

    `inputs` is flat, and does not say whether the model takes a dictionary.

    Returns:
        A structure of symbolic tensors, `None` for a subclassed model.
    """
    return getattr(_graph_of(model), "_inputs_struct", None)


def symbolic_outputs(model: keras.Model) -> Any:
    """Likewise for the outputs."""
    return getattr(_graph_of(model), "_outputs_struct", None)


def _graph_of(model: keras.Model) -> Any:
    # A Sequential keeps the functional model that it is made into, once it is built.
    return model._functional if isinstance(model, keras.Sequential) else model


class Origin(NamedTuple):
    """The call that gave a symbolic tensor: the how-many-eth of which operation."""

    operation: Any
    node_index: int
    tensor_index: int


def origin(tensor: keras.KerasTensor) -> Origin:
    """Where a symbolic tensor comes from: it alone knows which layer gave it."""
    return Origin(*tensor._keras_history)


def call_inputs(source: Origin) -> list[keras.KerasTensor]:
    """The symbolic tensors that went into a call, to go further back from there."""
    return list(source.operation._inbound_nodes[source.node_index].input_tensors)


# Files


class _InMemory(io.BytesIO):
    """Keras writes into it, and asks for its ending."""

    def __str__(self) -> str:
        return "memory.weights.h5"


def weights_file(model: keras.Model) -> memoryview:
    """The content of the `.weights.h5` that `model.save_weights` writes.

    HDF5 does not survive a disk that is full: it ends the process where the file is
    closed. What is in memory can be written in a way that fails by an error.
    """
    file = _InMemory()
    keras.saving.save_weights(model, file)
    return file.getbuffer()


@contextlib.contextmanager
def variables_without_values() -> Iterator[None]:
    """Variables that are made within have shapes and types, and never take memory.

    Those of a `keras.StatelessScope` alone are given their values later, by whichever
    scope ends next.
    """
    waiting = "uninitialized_variables"
    before = list(_global_state.get_global_attribute(waiting) or [])
    try:
        with keras.StatelessScope(initialize_variables=False):
            yield
    finally:
        _global_state.set_global_attribute(waiting, before)


# Texts and tables


def keras_reason(error: Exception) -> str:
    """The innermost of the reasons that Keras gives, without the dump of configs."""
    reason = str(error).rsplit("Exception encountered: ", 1)[-1]
    return " ".join(reason.split()).split(". ")[0].rstrip(".")


def float64_rounding() -> dict[str, str]:
    """What JAX and PyTorch make of float64 in most of Keras's operations, by dtype.

    The table itself: tests of exactness put float64 in.
    """
    table: dict[str, str] = _dtypes.BIT64_TO_BIT32_DTYPE
    return table


def _try_all() -> None:
    # All are named: the numbers in the names of the user's layers stay as they are.
    x = keras.Input((1,), name="tried")
    model = keras.Model(x, keras.layers.Identity(name="same")(x), name="tried")
    mask_of(x)
    compiled_loss(model)
    compiled_metrics(model)
    labels_are_new(model)
    for layer in flatten_layers(model):
        own_weights(layer)
        takes_training(layer)
        is_rematerialized(layer)
    symbolic_inputs(keras.Sequential(name="tried"))
    call_inputs(origin(x))
    float64_rounding()
    for holder, name in (
        (keras.Model, "_aggregate_additional_loss"),
        (keras.Model, "_symbolic_build"),
        (model, "_inputs_struct"),
        (model, "_outputs_struct"),
        (_array_slicing, "train_validation_split"),
        (_data_adapters, "get_data_adapter"),
        (_masking, "set_keras_mask"),
    ):
        getattr(holder, name)


try:
    _try_all()
except (AttributeError, TypeError) as error:
    raise _unknown(error) from error
