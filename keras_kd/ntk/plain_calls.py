"""What the model says by itself: weights assigned, and an ordinary call.

All other passes put values in place of the weights (`stateless_call`). A layer that
reads its weights by another way, a wrapped torch module or a reloaded SavedModel,
does not see them, and its gradients are zero without an error. Here the two ways are
compared, which takes no gradient and hence no step size: both must say the same.
"""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_kd.forward import call_without_side_effects
from keras_kd.keras_internals import flatten_layers, own_weights, takes_training

# How far weights are moved, of their size: far, so that what does not move shows; less
# where the outputs would not be finite.
_DISTANCES = (0.3, 0.03, 0.003)
# Of weights that are zero, biases at their start.
_SIZE_OF_ZEROS = 0.3

# Held while weights are not what they are, and while others read them.
weights_lock = threading.RLock()


def check_values_are_seen(
    model: keras.Model, inputs: Any, places: Sequence[int], tolerance: float
) -> None:
    """Refuses a model that does not compute with the values put in place of weights.

    The weights are moved at random for a moment, and put back.

    Args:
        model: a built model.
        inputs: tensors of a few examples.
        places: of the trainable variables that count.
        tolerance: of outputs, relative. The same operations run in the same order:
            mostly nothing differs at all.

    Raises:
        ValueError: names the variables.
    """
    variables = [
        v for v in (model.trainable_variables[i] for i in places) if _is_floating(v)
    ]
    if not all(np.isfinite(number(v.value)).all() for v in variables):
        # The outputs are judged elsewhere.
        return
    for distance in _DISTANCES:
        moved = _moved(variables, distance)
        assigned = outputs_with(model, inputs, variables, moved)
        if np.isfinite(assigned).all():
            break
    else:
        return
    if _differ(assigned, _replaced(model, inputs, variables, moved), tolerance):
        raise _refusal(model, inputs, variables, moved, tolerance)


def _refusal(
    model: keras.Model,
    inputs: Any,
    variables: Sequence[keras.Variable],
    moved: Sequence[NDArray[Any]],
    tolerance: float,
) -> ValueError:
    owners = {
        id(v): layer.path or layer.name
        for layer in flatten_layers(model)
        for v in own_weights(layer)
    }
    found = [
        owners.get(id(variable), variable.path)
        for variable, value in zip(variables, moved, strict=True)
        if _differ(
            outputs_with(model, inputs, [variable], [value]),
            _replaced(model, inputs, [variable], [value]),
            tolerance,
        )
    ]
    names = list(dict.fromkeys(found))
    some = ", ".join(f"'{name}'" for name in names[:5]) or "all"
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ValueError(
        "`model` must compute with its Keras variables, so that gradients in them can "
        f"be taken. Received: model '{model.name}', whose outputs follow the weights "
        f"of {some}{more} by a way that Keras's `stateless_call` does not see, as in a "
        "`TorchModuleWrapper` or a `TFSMLayer`. Build these layers of Keras layers, or "
        "leave their weights out: `variables=`."
    )


def _moved(variables: Sequence[keras.Variable], distance: float) -> list[NDArray[Any]]:
    """Values at a random place near those that the variables have."""
    generator = np.random.default_rng(0)
    moved = []
    for variable in variables:
        value = number(variable.value)
        size = np.sqrt(np.mean(np.square(value))) if value.size else 0.0
        step = distance * (size or _SIZE_OF_ZEROS)
        moved.append(value + step * generator.standard_normal(value.shape))
    return moved


def outputs_with(
    model: keras.Model,
    inputs: Any,
    variables: Sequence[keras.Variable],
    values: Sequence[NDArray[Any]],
) -> NDArray[Any]:
    """The outputs of an ordinary call, with values assigned to the variables."""
    kwargs = {"training": False} if takes_training(model) else {}
    # What the call changes, seeds and statistics, goes into the scope and is dropped.
    with _set_to(variables, values), keras.StatelessScope():
        outputs = _flat(model(inputs, **kwargs))
    return outputs


@contextlib.contextmanager
def _set_to(
    variables: Sequence[keras.Variable], values: Sequence[NDArray[Any]]
) -> Iterator[None]:
    with weights_lock:
        # TensorFlow's and PyTorch's values change with the variables.
        before = [np.array(ops.convert_to_numpy(v.value)) for v in variables]
        try:
            for variable, value in zip(variables, values, strict=True):
                variable.assign(_tensor(value, variable))
            yield
        finally:
            for variable, value in zip(variables, before, strict=True):
                variable.assign(_tensor(value, variable))


def _replaced(
    model: keras.Model,
    inputs: Any,
    variables: Sequence[keras.Variable],
    values: Sequence[NDArray[Any]],
) -> NDArray[Any]:
    """The outputs with values put in place of those of the variables."""
    instead = {
        id(v): _tensor(value, v) for v, value in zip(variables, values, strict=True)
    }
    trainable = [instead.get(id(v), v.value) for v in model.trainable_variables]
    return _flat(call_without_side_effects(model, inputs, trainable))


def _tensor(value: NDArray[Any], variable: keras.Variable) -> Any:
    return ops.convert_to_tensor(value, variable.dtype)


def _flat(outputs: Any) -> NDArray[Any]:
    return np.concatenate(
        [number(leaf).ravel() for leaf in keras.tree.flatten(outputs)]
    )


def number(tensor: Any) -> NDArray[Any]:
    """In NumPy, float64."""
    return np.asarray(ops.convert_to_numpy(tensor)).astype(np.float64)


def _is_floating(variable: keras.Variable) -> bool:
    return bool(keras.backend.is_float_dtype(variable.dtype))


def _differ(a: NDArray[Any], b: NDArray[Any], tolerance: float) -> bool:
    scale = max(np.linalg.norm(a), np.linalg.norm(b))
    return bool(not np.linalg.norm(a - b) <= tolerance * scale)
