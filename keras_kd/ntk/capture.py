"""One forward and one backward pass that collect what every gradient is made of.

Rules run their layers and tap the outputs of the linear parts. Layers with weights
that no rule holds for are opaque: their inputs are kept, and each example's gradient
is taken by a vector-Jacobian product of that layer alone. Weights that are used
outside of all layers get the same treatment with the whole model.
"""

import functools
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import keras
from keras import ops
from numpy.typing import NDArray

from keras_kd import backend
from keras_kd.forward import tapped_by, watching
from keras_kd.ntk.factors import Explicit, Factor
from keras_kd.ntk.opaque import OpaqueCall, gradients_of
from keras_kd.ntk.outputs import logits_of
from keras_kd.ntk.plain_calls import weights_lock
from keras_kd.ntk.roles import Roles
from keras_kd.ntk.rules.site import Parts, Site

# The trainable and the other values of a model or layer.
Values: TypeAlias = tuple[list[Any], list[Any]]


class Recorder:
    """The watcher of one forward pass.

    Attributes:
        sites: of the calls of layers that answer for weights, in order.
        unreachable: layers (`None`: the model) that call such a layer in a loop, a
            branch or a map, where nothing can be tapped.
        values: `{id(variable): value}`, to be set before factors are made.
    """

    def __init__(self, roles: Roles) -> None:
        self.roles = roles
        self.sites: list[Site] = []
        self.unreachable: list[Any] = []
        self.values: dict[int, Any] = {}
        self._stack: list[tuple[Any, bool]] = []
        self._inside = False
        self._scope = backend.trace_scope()
        self._watched = {id(layer) for layer in roles.layers}

    def __contains__(self, layer: object) -> bool:
        return id(layer) in self._watched

    def watch(
        self,
        layer: keras.layers.Layer,
        call: Callable[..., Any],
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        if self._inside:
            return call(*args, **kwargs)
        reachable = backend.trace_scope() == self._scope
        rule = self.roles.rules.get(id(layer))
        if id(layer) in self.roles.faster:
            rule = self.roles.faster[id(layer)] if reachable else None
        opaque = id(layer) in self.roles.opaque
        if (rule or opaque) and not reachable:
            around = [entry for entry, fine in self._stack if fine]
            self.unreachable.append(around[-1] if around else None)
            return call(*args, **kwargs)
        self._stack.append((layer, reachable))
        try:
            if opaque:
                return self._run_opaque(layer, call, args, kwargs)
            if rule:
                inputs = args[0] if args else next(iter(kwargs.values()))
                return rule(layer, self._site(layer), inputs)
            return call(*args, **kwargs)
        finally:
            self._stack.pop()

    def _site(self, layer: keras.layers.Layer) -> Site:
        name = f"{len(self.sites):04d} {layer.name}"
        site = Site(layer, name, self.roles.places)
        self.sites.append(site)
        return site

    def _run_opaque(
        self,
        layer: keras.layers.Layer,
        call: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        self._inside = True
        try:
            outputs = call(*args, **kwargs)
        finally:
            self._inside = False
        leaves = keras.tree.flatten(outputs)
        floating = [i for i, leaf in enumerate(leaves) if _is_floating(leaf)]
        opaque_call = OpaqueCall(layer, args, kwargs, floating)
        site = self._site(layer)
        cotangents: list[Any] = []

        def collect(position: int, inputs: list[Any], d: Any) -> Parts:
            # One tap an output; the last one has them all.
            if position == 0:
                cotangents.clear()
            cotangents.append(d)
            if position + 1 < len(floating):
                return []
            return self._opaque_factors(site.name, opaque_call, inputs, cotangents)

        for position, i in enumerate(floating):
            last = position + 1 == len(floating)
            inputs = opaque_call.inputs if last else []
            leaves[i] = site.tap(
                leaves[i], inputs, functools.partial(collect, position)
            )
        return keras.tree.pack_sequence_as(outputs, leaves)

    def _opaque_factors(
        self,
        name: str,
        opaque_call: OpaqueCall,
        inputs: list[Any],
        cotangents: list[Any],
    ) -> Parts:
        m = cotangents[0].shape[1]
        sliced = [len(x.shape) > 0 and x.shape[0] == m for x in inputs]
        # By chance another axis may be as long as the batch, but not in two batches.
        before = self.roles.sliced.setdefault(name, sliced)
        sliced = [a and b for a, b in zip(sliced, before, strict=True)]
        layer = opaque_call.layer
        values = (
            [self.values[id(v)] for v in layer.trainable_variables],
            [self.values[id(v)] for v in layer.non_trainable_variables],
        )
        return gradients_of(
            layer,
            opaque_call.run,
            self.roles.places,
            values,
            inputs,
            sliced,
            cotangents,
        )


def _is_floating(leaf: Any) -> bool:
    return bool(
        ops.is_tensor(leaf)
        and keras.backend.is_float_dtype(keras.backend.standardize_dtype(leaf.dtype))
    )


class Capture:
    """The compiled passes of one model, for one choice of roles.

    Args:
        model: held weakly.
        roles: who answers for which weights.

    Attributes:
        unreachable: see `Recorder`, of the last trace.
        without_examples: layers whose outputs have no axis of examples; their
            gradients cannot be told apart by example.
    """

    def __init__(self, model: keras.Model, roles: Roles) -> None:
        self._model = weakref.ref(model)
        self.roles = roles
        self.unreachable: list[Any] = []
        self.without_examples: list[Any] = []
        # From `_record` to `_factors` of one pass, which is one thread's.
        self._of_thread = threading.local()
        # What makes factors of the tensors of one compiled shape.
        self._makers: dict[Any, list[tuple[Callable[..., Factor], int]]] = {}
        self._compiled = backend.compile_capture(self._record, self._factors)

    def _record(
        self,
        trainable: list[Any],
        non_trainable: list[Any],
        inputs: Any,
        tap: Callable[[Any, Any], Any],
    ) -> tuple[Any, dict[str, Any]]:
        recorder = Recorder(self.roles)
        with watching(self.roles.layers, recorder), tapped_by(tap):
            outputs = logits_of(self._model(), inputs, trainable, non_trainable)
        self._of_thread.recorder = recorder
        self.unreachable = recorder.unreachable
        arrays = {k: v for site in recorder.sites for k, v in site.arrays.items()}
        return outputs, arrays

    def _factors(
        self,
        trainable: list[Any] | None,
        non_trainable: list[Any] | None,
        inputs: Any,
        arrays: dict[str, Any],
        cotangents: Any,
        tapped: dict[str, Any],
    ) -> list[Any]:
        model = self._model()
        recorder: Recorder = self._of_thread.__dict__.pop("recorder")
        assert model is not None
        if trainable is None or non_trainable is None:
            trainable = [v.value for v in model.trainable_variables]
            non_trainable = [v.value for v in model.non_trainable_variables]
        variables = (*model.trainable_variables, *model.non_trainable_variables)
        recorder.values = {
            id(v): value
            for v, value in zip(variables, (*trainable, *non_trainable), strict=True)
        }
        parts: Parts = []
        self.without_examples = []
        for site in recorder.sites:
            for key, factors in site.factors.items():
                if tapped[key].shape[1] == cotangents.shape[1]:
                    parts += factors(arrays[key], tapped[key])
                else:
                    # Called on something that is the same for all examples.
                    self.without_examples.append(site.layer)
        if self.roles.whole_model:
            parts += self._whole_model(
                model, (trainable, non_trainable), inputs, cotangents
            )
        makers: list[tuple[Callable[..., Factor], int]] = []
        tensors: list[Any] = []
        for make, made_of in parts:
            makers.append((make, len(made_of)))
            tensors += made_of
        self._makers[tuple(cotangents.shape)] = makers
        return tensors

    def _whole_model(
        self, model: keras.Model, values: Values, inputs: Any, cotangents: Any
    ) -> Parts:
        leaves = keras.tree.flatten(inputs)

        def run(values: Values, tensors: list[Any]) -> list[Any]:
            inputs_of_one = keras.tree.pack_sequence_as(inputs, list(tensors))
            return [logits_of(model, inputs_of_one, *values)]

        return gradients_of(
            model,
            run,
            self.roles.whole_model,
            values,
            leaves,
            [True] * len(leaves),
            [cotangents],
        )

    def values(self, device: Any = None) -> Values:
        """The model's trainable and other values, as they are, on a device."""
        model = self._model()
        assert model is not None
        with weights_lock:
            values: Values = (
                [v.value for v in model.trainable_variables],
                [v.value for v in model.non_trainable_variables],
            )
        if device is not None:
            values = backend.put(values, device)
        return values

    def start(
        self, values: Values, inputs: Any, cotangents: NDArray[Any]
    ) -> tuple[Any, ...]:
        """Starts the passes; some backends go on before these have ended.

        Args:
            values: see `values`.
            inputs: structure of `m` examples, on the same device.
            cotangents: NumPy, `(q, m, k)`: the gradients of `sum_k c f` are taken.

        Returns:
            What `finish` takes.
        """
        with weights_lock:
            return cotangents.shape, *self._compiled(*values, inputs, cotangents)

    def finish(self, started: tuple[Any, ...]) -> tuple[NDArray[Any], list[Factor]]:
        """The outputs `(m, k)` and the factors, every variable in one of them."""
        shape, outputs, tensors = started
        arrays = iter([backend.to_numpy(tensor) for tensor in tensors])
        factors = [
            make(*(next(arrays) for _ in range(count)))
            for make, count in self._makers[tuple(shape)]
        ]
        return backend.to_numpy(outputs), joined(factors)

    def __call__(
        self, inputs: Any, cotangents: NDArray[Any]
    ) -> tuple[NDArray[Any], list[Factor]]:
        """Runs the passes, see `start` and `finish`."""
        return self.finish(self.start(self.values(), inputs, cotangents))


def joined(factors: Sequence[Factor]) -> list[Factor]:
    """Factors that share a variable made one: gradients add before they multiply."""
    groups: list[list[Factor]] = []
    for factor in factors:
        if not factor.variables:
            continue
        mine = set(factor.variables)
        sharing = [g for g in groups if any(mine & set(f.variables) for f in g)]
        rest = [g for g in groups if not any(g is s for s in sharing)]
        groups = [*rest, [*(f for g in sharing for f in g), factor]]
    return [factor for group in groups for factor in _sum(group)]


def _sum(group: list[Factor]) -> list[Factor]:
    first, *others = group
    if not others:
        return group
    if all(first.is_like(other) for other in others):
        # Several calls of a layer are further positions.
        return [first.with_calls_of(group)]
    total: dict[int, NDArray[Any]] = {}
    for factor in group:
        for place, gradients in factor.gradients().items():
            total[place] = total[place] + gradients if place in total else gradients
    return [Explicit(place, gradients) for place, gradients in total.items()]
