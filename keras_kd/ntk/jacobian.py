"""The Jacobian of a model's outputs in its weights, held as factors, rows on demand."""

import collections
import functools
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np
from numpy.typing import DTypeLike

from keras_kd import backend
from keras_kd.forward import Examples
from keras_kd.ntk.arguments import (
    Implementation,
    check_model,
    check_options,
    variable_places,
)
from keras_kd.ntk.certificate import EXAMPLES, certified
from keras_kd.ntk.factors import Factor
from keras_kd.ntk.memory import pass_size
from keras_kd.ntk.outputs import Choice, Outputs, check_not_probabilities


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
        model: keras.Model,
        x: Any,
        outputs: Choice = "trace",
        variables: Iterable[keras.Variable] | None = None,
        batch_size: int | None = None,
        implementation: Implementation = "auto",
        name: str = "x",
    ) -> None:
        check_model(model)
        check_options(batch_size, implementation)
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
        if isinstance(outputs, str) and outputs == "pseudo":
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
        """Memory that the factors of one example take, as they are held."""
        held = [part for factor in self.sample for part in factor.compact(self.form)]
        return sum(part.stored for part in held) * self.dtype.itemsize

    def bytes_per_pair(self, dtype: DTypeLike) -> int:
        """Memory that one pair of examples takes in the kernel."""
        return np.dtype(dtype).itemsize * int(np.prod(self.outputs.shape(1, 1)))

    def batch_size(self) -> int:
        """Examples a pass."""
        if self._batch_size is not None:
            return min(self._batch_size, self.n)
        stored = sum(factor.stored for factor in self.sample)
        return min(pass_size(stored * self.dtype.itemsize), self.n)

    def _pass(self, start: int, stop: int, size: int) -> list[Factor]:
        """The factors of the examples `start` to `stop`, by a pass over `size`."""
        return self._finish(self._start(start, stop, size, self.capture.values()))

    def _start(
        self, start: int, stop: int, size: int, values: Any, device: Any = None
    ) -> tuple[int, int, Any]:
        # No smaller than what is compiled anyway.
        size = max(size, EXAMPLES)
        inputs = self.examples.batch(start, stop, size)
        if device is not None:
            inputs = backend.put(inputs, device)
        cotangents = self.outputs.cotangents(size, self.dtype)
        with backend.full_precision():
            started = self.capture.start(values, inputs, cotangents)
        return stop - start, size, started

    def _finish(self, started: tuple[int, int, Any]) -> list[Factor]:
        count, size, passes = started
        _, factors = self.capture.finish(passes)
        taken = factors if count == size else [f.take(slice(count)) for f in factors]
        return [factor.preferring(self.implementation) for factor in taken]

    def batches(
        self, start: int = 0, stop: int | None = None
    ) -> Iterator[tuple[slice, list[Factor]]]:
        """The rows and their factors, batch by batch; the devices share the batches."""
        stop = self.n if stop is None else stop
        size = self.batch_size()
        firsts = range(start, stop, size)
        devices = backend.local_devices()[: len(firsts)]
        if len(devices) == 1:
            # Where the model is.
            devices = [None]
        values = [self.capture.values(device) for device in devices]
        under_way: collections.deque[tuple[slice, tuple[int, int, Any]]] = (
            collections.deque()
        )
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

    def rows(self, start: int = 0, stop: int | None = None) -> list[Factor]:
        """The factors of the examples `start` to `stop`, all in memory."""
        parts = [
            collections.deque(part for f in factors for part in f.compact(self.form))
            for _, factors in self.batches(start, stop)
        ]
        if len(parts) == 1:
            return list(parts[0])
        joined: list[Factor] = []
        while parts[0]:
            # Taken out: what is joined is not held twice for longer than needed.
            same = [part.popleft() for part in parts]
            joined.append(same[0].concatenate(same))
        return joined
