"""The Jacobian of a model's outputs in its weights, held as factors, rows on demand."""

import collections
import functools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import psutil

from keras_kd import backend
from keras_kd.forward import Examples
from keras_kd.ntk.capture import Factor
from keras_kd.ntk.certificate import EXAMPLES, certified
from keras_kd.ntk.factors import Explicit, OuterProduct
from keras_kd.ntk.outputs import Outputs, check_not_probabilities

IMPLEMENTATIONS = ("auto", "structured", "jacobian")

# A pass holds its activations, the factors' tensors and their copies: so many numbers
# for each one that it gives.
_PASS_OVERHEAD = 4
_PASS_BYTES = 1 << 29
# Larger passes are no faster, and on a CPU outgrow its caches.
_ENOUGH_BYTES = 1 << 25
_ENOUGH_EXAMPLES = (64, 256)


class FactoredJacobian:
    """`J`, `(q, n, weights)`, in the form in which products with it are cheap.

    Args:
        model: a built Keras model.
        x: as in `Examples`.
        outputs: as in `Outputs`.
        variables: of the model's trainable variables, those asked for; `None`: all.
        batch_size: examples a pass; `None`: what fits.
        implementation: `"auto"`, `"structured"` or `"jacobian"`.
        name: of the argument `x`, for messages.
    """

    def __init__(
        self,
        model,
        x,
        outputs="trace",
        variables=None,
        batch_size=None,
        implementation="auto",
        name="x",
    ):
        check_arguments(model, batch_size, implementation)
        self.model = model
        self.places = variable_places(model, variables)
        self.examples = x if isinstance(x, Examples) else Examples(x, name)
        self.n = self.examples.n
        self.implementation = implementation
        made = certified(
            model, self.examples, self.places, rules=implementation != "jacobian"
        )
        self.capture = made.capture
        self.dtype = made.dtype
        self.outputs = Outputs(outputs, made.outputs)
        self.form = self.outputs.form
        if outputs == "pseudo" if isinstance(outputs, str) else False:
            check_not_probabilities(made.sample, model)
        self._batch_size = batch_size

    @property
    def q(self) -> int:
        """Number of combinations of outputs."""
        return self.outputs.count

    @functools.cached_property
    def sample(self) -> list[Factor]:
        """The factors of a few examples: their kinds and sizes, for planning."""
        return self._pass(0, min(EXAMPLES, self.n), EXAMPLES)

    def bytes_per_example(self) -> int:
        """Memory that the factors of one example take."""
        held = [f for factor in self.sample for f in self._compact(factor)]
        return sum(factor.stored for factor in held) * self.dtype.itemsize

    def batch_size(self) -> int:
        """Examples a pass."""
        if self._batch_size is not None:
            return min(self._batch_size, self.n)
        stored = sum(factor.stored for factor in self.sample)
        each = max(1, stored * self.dtype.itemsize)
        enough = np.clip(_ENOUGH_BYTES // each, *_ENOUGH_EXAMPLES)
        fitting = max(4, min(enough, _PASS_BYTES // (each * _PASS_OVERHEAD)))
        # A power of two, so that other numbers of examples find it compiled.
        return min(1 << int(np.log2(fitting)), self.n)

    def _pass(self, start: int, stop: int, size: int) -> list[Factor]:
        """The factors of the examples `start` to `stop`, by a pass over `size`."""
        return self._finish(self._start(start, stop, size, self.capture.values()))

    def _start(self, start: int, stop: int, size: int, values, device=None) -> tuple:
        # No smaller than what is compiled anyway.
        size = max(size, EXAMPLES)
        inputs = self.examples.batch(start, stop, size)
        if device is not None:
            inputs = backend.put(inputs, device)
        cotangents = self.outputs.cotangents(size, self.dtype)
        with backend.full_precision():
            started = self.capture.start(values, inputs, cotangents)
        return stop - start, size, started

    def _finish(self, started) -> list[Factor]:
        count, size, passes = started
        _, factors = self.capture.finish(passes)
        return [
            self._preferred(f if count == size else f.take(slice(count)))
            for f in factors
        ]

    def _preferred(self, factor: Factor) -> Factor:
        if isinstance(factor, OuterProduct):
            return replace(factor, prefer=self.implementation)
        return factor

    def _compact(self, factor: Factor) -> list[Factor]:
        if isinstance(factor, Explicit):
            return [factor]
        return list(factor.compact(self.form))

    def batches(self, start=0, stop=None) -> Iterator[tuple[slice, list[Factor]]]:
        """The rows and their factors, batch by batch; the devices share the batches."""
        stop = self.n if stop is None else stop
        size = self.batch_size()
        firsts = range(start, stop, size)
        devices = backend.local_devices()[: len(firsts)]
        if len(devices) == 1:
            # Where the model is.
            devices = [None]
        values = [self.capture.values(device) for device in devices]
        under_way: collections.deque[tuple[slice, tuple]] = collections.deque()
        for i, first in enumerate(firsts):
            last = min(first + size, stop)
            turn = i % len(devices)
            started = self._start(first, last, size, values[turn], devices[turn])
            under_way.append((slice(first, last), started))
            if len(under_way) == len(devices):
                rows, oldest = under_way.popleft()
                yield rows, self._finish(oldest)
        for rows, started in under_way:
            yield rows, self._finish(started)

    def rows(self, start=0, stop=None) -> list[Factor]:
        """The factors of the examples `start` to `stop`, all in memory."""
        parts: list[list[Factor]] = []
        for _, factors in self.batches(start, stop):
            parts.append([f for factor in factors for f in self._compact(factor)])
        if len(parts) == 1:
            return parts[0]
        joined: list[Factor] = []
        for i in range(len(parts[0])):
            same = [part[i] for part in parts]
            kind: Any = type(same[0])
            joined.append(kind.concatenate(same))
            for part in parts:
                part[i] = None  # type: ignore[call-overload]
        return joined


def available_bytes() -> int:
    """Memory that can be had without swapping."""
    return int(psutil.virtual_memory().available)


def check_arguments(model, batch_size, implementation) -> None:
    """Refuses what no kernel can be computed with, before anything is.

    Raises:
        TypeError: `model` is not a Keras model.
        ValueError: it is not built or has no trainable weights, or an option is
            unknown.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(
            "`model` must be a `keras.Model`. "
            f"Received: an object of type {type(model).__name__}"
        )
    if not model.built:
        raise ValueError(
            f"`model` must be built. Received: model '{model.name}', which has no "
            "weights yet; call it once on a batch."
        )
    if batch_size is not None and (not isinstance(batch_size, int) or batch_size < 1):
        raise ValueError(
            "`batch_size` must be a positive integer or None. "
            f"Received: batch_size={batch_size}"
        )
    if implementation not in IMPLEMENTATIONS:
        raise ValueError(
            f"`implementation` must be one of {IMPLEMENTATIONS}. "
            f"Received: implementation={implementation!r}"
        )


def variable_places(model, variables) -> list[int]:
    """The places of `variables` among the model's trainable variables.

    Raises:
        ValueError: one is not among them, or there are none.
    """
    trainable = model.trainable_variables
    if variables is None:
        # What an optimizer overwrites (float8 scales) has no derivative to speak of.
        meant = [
            i
            for i, v in enumerate(trainable)
            if not getattr(v, "overwrite_with_gradient", False)
        ]
        if not meant:
            raise ValueError(
                "`model` must have trainable weights. Received: model "
                f"'{model.name}', in which everything is frozen"
            )
        return meant
    places = {id(v): i for i, v in enumerate(trainable)}
    variables = list(variables)
    unknown = [getattr(v, "path", repr(v)) for v in variables if id(v) not in places]
    if unknown or not variables:
        raise ValueError(
            "`variables` must be some of `model.trainable_variables`. "
            f"Received: {unknown or 'none'}"
        )
    return sorted({places[id(v)] for v in variables})
