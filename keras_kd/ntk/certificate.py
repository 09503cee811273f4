"""No kernel without a certificate: the gradients that were assembled are the true ones.

Once per compiled model and shape, random combinations of the outputs are
differentiated in the ordinary way, and the gradient of every variable is compared with
the sum of what the factors say. Half of the examples have no part in the combination:
whatever they contribute shows a layer that mixes examples.
"""

import re
import threading
import warnings
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from keras_kd import backend
from keras_kd.forward import Examples, call_without_side_effects, tapping
from keras_kd.keras_internals import flatten_layers
from keras_kd.ntk.capture import Capture
from keras_kd.ntk.factors import Factor
from keras_kd.ntk.finite_differences import contradicted
from keras_kd.ntk.outputs import logits_of
from keras_kd.ntk.plain_calls import check_values_are_seen, outputs_with
from keras_kd.ntk.roles import Roles

# Relative errors above which a rule does not hold. Rounding stays far below, a wrong
# rule is wrong by a multiple. (On JAX and PyTorch, Keras computes parts of a float64
# model, among them tanh and batch normalisation, in float32.)
_TOLERANCE = {"float64": 1e-4, "float32": 2e-3, "half": 0.1}
# Likewise of two calls that do the same in the same order.
_TOLERANCE_OF_CALLS = {"float64": 1e-6, "float32": 1e-4, "half": 1e-2}

# Of the gradient of all variables: what a gradient may be wrong by that is zero, or
# nearly so, and rounding.
_FLOOR = 1e-3

# A number that axes of something else than examples rarely have.
EXAMPLES = 5

_lock = threading.Lock()
_certifying = threading.RLock()
_certified: weakref.WeakKeyDictionary[
    keras.Model, "dict[tuple[Any, ...], Certified]"
] = weakref.WeakKeyDictionary()


class Certified:
    """A capture that was compared with the ordinary gradient.

    Attributes:
        capture: of the model.
        outputs: `k`.
        dtype: of the model's outputs, float32 or float64.
        sample: outputs `(m, k)` of a few examples.
    """

    def __init__(
        self,
        model: keras.Model,
        examples: Examples,
        variables: Sequence[int],
        rules: bool,
    ) -> None:
        forward = backend.compile_forward(_weakly(model))
        trainable = [v.value for v in model.trainable_variables]
        non_trainable = [v.value for v in model.non_trainable_variables]
        m = EXAMPLES
        inputs = examples.first(m)
        _check_inputs(model, examples, inputs)
        check_values_are_seen(
            model, inputs, variables, _TOLERANCE_OF_CALLS[_precision(model)]
        )
        try:
            parts = [
                forward(trainable, non_trainable, _one(inputs, i)) for i in range(m)
            ]
        except (TypeError, AttributeError, NotImplementedError) as error:
            raise _untraceable(model) from error
        alone = np.concatenate([backend.to_numpy(part) for part in parts])
        self.dtype = alone.dtype
        self.outputs = int(alone.shape[1])
        precision = _precision(model, self.dtype)
        tolerance = _TOLERANCE[precision]
        generator = np.random.default_rng(0)
        cotangents = generator.standard_normal((m, self.outputs)).astype(self.dtype)
        # The examples of the second half keep out.
        active = (m + 1) // 2
        cotangents[active:] = 0
        sample, gradients = backend.compile_gradients(_weakly(model))(
            trainable, non_trainable, inputs, cotangents
        )
        self.sample = backend.to_numpy(sample)
        if not (np.isfinite(alone).all() and np.isfinite(self.sample).all()):
            raise ValueError(
                "The model's outputs must be finite. Received: NaN or infinity from "
                f"model '{model.name}'"
            )
        if not all(
            _close(a, b, tolerance) for a, b in zip(alone, self.sample, strict=True)
        ):
            raise _mixing(model, inputs, tolerance)
        gradients = [backend.to_numpy(g).reshape(-1) for g in gradients]
        if backend.leaves_tensors(lambda v: logits_of(model, inputs, v), trainable):
            missed = contradicted(
                model, inputs, cotangents, gradients, variables, precision
            )
            if missed:
                raise _untraceable(model, missed)
        roles = Roles(model, variables, rules)
        while True:
            self.capture = Capture(model, roles)
            _, factors = self.capture(inputs, cotangents[None])
            if self.capture.unreachable:
                _give_up_inside(roles, self.capture.unreachable)
            elif self.capture.without_examples:
                for layer in self.capture.without_examples:
                    roles.take_whole(roles.wanted(layer.trainable_variables))
            elif wrong := _wrong(gradients, factors, variables, active, tolerance):
                _demote(model, roles, wrong, inputs, tolerance)
            else:
                return


def _check_inputs(model: keras.Model, examples: Examples, inputs: Any) -> None:
    try:
        outputs_with(model, inputs, [], [])
    except ValueError as error:
        # Keras colours its words, and adds the call's arguments.
        words = re.sub(r"\x1b\[\d*m", "", str(error)).split("Arguments received")[0]
        shapes = [tuple(leaf.shape) for leaf in keras.tree.flatten(examples.values)]
        raise ValueError(
            f"`{examples.name}` must be what model '{model.name}' takes. Received: "
            f"arrays of shape {str(shapes)[1:-1]}. {' '.join(words.split())[:300]}"
        ) from error


def _untraceable(model: keras.Model, places: Sequence[int] = ()) -> ValueError:
    names = ", ".join(repr(model.trainable_variables[i].path) for i in places)
    return ValueError(
        "`model` must compute with tensors from its weights to its outputs, so that "
        "gradients can be taken (no NumPy, no `.numpy()`), and as the backend can "
        f"compile. Received: model '{model.name}'"
        + (f", whose outputs follow {names} otherwise" if names else "")
    )


def certified(
    model: keras.Model, examples: Examples, variables: Sequence[int], rules: bool
) -> Certified:
    """The certified capture of `model`, made once and kept as long as the model lives.

    Args:
        model: a built model.
        examples: their shapes and dtypes count, and a few of them are tried.
        variables: indices of the trainable variables asked for.
        rules: as in `Roles`.
    """
    key = (
        examples.signature(),
        str(keras.tree.map_structure(lambda _: 0, examples.values)),
        tuple(variables),
        tuple(id(v) for v in model.trainable_variables),
        tuple(str(layer.dtype_policy.name) for layer in flatten_layers(model)),
        rules,
    )
    with _lock:
        known = _certified.setdefault(model, {})
    # One at a time: weights are moved, and two that look at one model see each other's.
    with _certifying, backend.full_precision():
        if key not in known:
            known[key] = Certified(model, examples, variables, rules)
    return known[key]


def _weakly(model: keras.Model) -> Callable[[list[Any], list[Any], Any], Any]:
    reference = weakref.ref(model)

    def forward(trainable: list[Any], non_trainable: list[Any], inputs: Any) -> Any:
        return logits_of(reference(), inputs, trainable, non_trainable)

    return forward


def _precision(model: keras.Model, dtype: np.dtype[Any] | None = None) -> str:
    """The lowest one that the model computes in: float64, float32 or half."""
    layers = flatten_layers(model)
    policies = {layer.compute_dtype for layer in layers}
    quantized = any(layer.quantization_mode == "float8" for layer in layers)
    if quantized or policies & {"float16", "bfloat16"}:
        return "half"
    narrow = "float32" in policies or dtype == np.float32
    return "float32" if narrow else "float64"


def _close(a: NDArray[Any], b: NDArray[Any], tolerance: float) -> bool:
    scale = max(np.linalg.norm(a), np.linalg.norm(b))
    return bool(np.linalg.norm(a - b) <= tolerance * scale)


def _wrong(
    gradients: Sequence[NDArray[Any]],
    factors: Sequence[Factor],
    variables: Sequence[int],
    active: int,
    tolerance: float,
) -> list[int]:
    """The variables whose assembled gradients are not the true ones."""
    assembled: dict[int, NDArray[Any]] = {}
    strayed: set[int] = set()
    for factor in factors:
        assembled.update(factor.pull(np.ones((1, len(factor)))))
        # Squares: nothing cancels.
        if np.any(factor.squared_norms("trace")[active:] != 0):
            strayed |= set(factor.variables)
    floor = _FLOOR * max(np.linalg.norm(gradients[i]) for i in variables)
    wrong = []
    for i in variables:
        error = np.linalg.norm(gradients[i] - assembled.get(i, 0.0))
        fine = error <= tolerance * (np.linalg.norm(gradients[i]) + floor)
        if not fine or i in strayed:
            wrong.append(i)
    return wrong


def _give_up_inside(roles: Roles, layers: Iterable[Any]) -> None:
    for layer in layers:
        if layer is None:
            roles.take_whole(list(roles.places.values()))
        else:
            roles.make_opaque(layer)


def _demote(
    model: keras.Model, roles: Roles, wrong: list[int], inputs: Any, tolerance: float
) -> None:
    """Has the next, more general way answer for variables that were wrong."""
    for place in wrong:
        variable = model.trainable_variables[place]
        if place in roles.whole_model.values():
            raise _mixing(model, inputs, tolerance)
        names = ", ".join(f"'{name}'" for name in roles.owner_names(place))
        owners = roles.ruled_owners(place)
        if owners:
            for layer in owners:
                roles.make_opaque(layer)
            way = "the layer's own per-example gradients"
        else:
            roles.take_whole([place])
            way = "per-example gradients of the whole model"
        warnings.warn(
            f"The structure of layer {names} does not account for the gradient of "
            f"'{variable.path}': it is used in some other way too. Its part of the "
            f"kernel comes from {way}, exact but slower.",
            stacklevel=2,
        )


def _mixing(model: keras.Model, inputs: Any, tolerance: float) -> ValueError:
    """Names the layer whose outputs for one example depend on the other examples."""
    name = _first_mixing_layer(model, inputs, tolerance)
    where = f"layer '{name}'" if name else f"model '{model.name}'"
    return ValueError(
        f"A kernel needs outputs that depend on one example each. Received: {where}, "
        "whose outputs or gradients for one example change with the others in the "
        "batch, or from call to call."
    )


def _first_mixing_layer(
    model: keras.Model, inputs: Any, tolerance: float
) -> str | None:
    layers = flatten_layers(model, include_self=False)

    def seen(batch: Any) -> dict[int, list[NDArray[Any]]]:
        with tapping(layers) as found:
            call_without_side_effects(model, batch)
        return {
            id(layer): [
                backend.to_numpy(leaf)
                for call in found.calls(layer)
                for leaf in keras.tree.flatten(call.outputs)
                if hasattr(leaf, "shape")
            ]
            for layer in layers
        }

    m = len(keras.tree.flatten(inputs)[0])
    together = seen(inputs)
    alone = [seen(_one(inputs, i)) for i in range(m)]
    inner = [layer for layer in layers if not _contains_layers(layer)]
    for layer in [*inner, *layers]:
        for i, single in enumerate(alone):
            for a, b in zip(together[id(layer)], single[id(layer)], strict=False):
                if b.shape[:1] == (1,) and not _close(a[i : i + 1], b, tolerance):
                    return str(layer.path or layer.name)
    return None


def _one(inputs: Any, i: int) -> Any:
    return keras.tree.map_structure(lambda x: x[i : i + 1], inputs)


def _contains_layers(layer: keras.layers.Layer) -> bool:
    return bool(flatten_layers(layer, include_self=False))
