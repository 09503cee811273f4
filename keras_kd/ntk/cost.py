"""What a kernel will cost, before it is computed."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import DTypeLike
from rich.console import Console
from rich.table import Table

from keras_kd.arguments import check_integer
from keras_kd.ntk.arguments import Accumulate, Implementation, check_accumulate
from keras_kd.ntk.jacobian import FactoredJacobian
from keras_kd.ntk.outputs import Choice


@dataclass(frozen=True)
class LayerPlan:
    """One layer's part of a kernel.

    Attributes:
        weights: paths of the weights.
        rule: `"outer"` (products of inputs and of cotangents, multiplied), `"pairs"`
            (of positions) or `"explicit"` (gradients formed, then multiplied).
        operations: floating-point operations of the products.
        bytes: memory of what is held for all examples.
    """

    weights: tuple[str, ...]
    rule: str
    operations: float
    bytes: int


@dataclass(frozen=True)
class Plan:
    """What `empirical_ntk(model, x)` of `n` examples takes.

    Attributes:
        n: number of examples.
        layers: a `LayerPlan` for each.
        operations: floating-point operations of all products.
        bytes: memory of factors and result.
        seconds: estimate, from the rate of a matrix product and the time of a pass
            measured now.
    """

    n: int
    layers: tuple[LayerPlan, ...]
    operations: float
    bytes: int
    seconds: float

    def __str__(self) -> str:
        table = Table(title=f"NTK of {self.n:,} examples")
        for heading in ("weights", "rule", "GFLOP", "MB"):
            right = heading in ("GFLOP", "MB")
            table.add_column(heading, justify="right" if right else "left")
        for layer in self.layers:
            table.add_row(
                ", ".join(layer.weights),
                layer.rule,
                f"{layer.operations / 1e9:,.1f}",
                f"{layer.bytes / 1e6:,.1f}",
            )
        table.add_section()
        table.add_row(
            f"about {self.seconds:,.1f} s",
            "",
            f"{self.operations / 1e9:,.1f}",
            f"{self.bytes / 1e6:,.1f}",
        )
        console = Console(width=100, file=None, record=False)
        with console.capture() as captured:
            console.print(table)
        return captured.get()


def plan(
    model: keras.Model,
    x: Any,
    n: int | None = None,
    *,
    outputs: Choice = "trace",
    batch_size: int | None = None,
    implementation: Implementation = "auto",
    accumulate: Accumulate = "float32",
    variables: Iterable[keras.Variable] | None = None,
) -> Plan:
    """What `empirical_ntk` would do for `n` examples, and how long it would take.

    Args:
        model: as in `empirical_ntk`, like all other arguments.
        x: a few examples, of the shapes and dtypes meant.
        n: number of examples; `None`: those in `x`.
        outputs: as in `empirical_ntk`.
        batch_size: examples a pass.
        implementation: as in `empirical_ntk`.
        accumulate: `"float32"` or `"float64"`.
        variables: list of trainable variables, where not all of them count.

    Returns:
        `Plan`; printed, it is a table.

    Raises:
        TypeError, ValueError: as `empirical_ntk`.

    Example:

    >>> import keras, numpy as np
    >>> from keras_kd.ntk import plan
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    >>> plan(model, np.eye(4), n=1000).layers[0].rule
    'outer'
    """
    sums = check_accumulate(accumulate)
    jacobian = FactoredJacobian(
        model, x, outputs, variables, batch_size, implementation
    )
    n = jacobian.n if n is None else check_integer("n", n, at_least=1)
    dtype = np.result_type(jacobian.dtype, sums)
    paths = [variable.path for variable in model.trainable_variables]
    sample = jacobian.sample
    form = jacobian.form
    layers = []
    forming = 0.0
    for factor in sample:
        forming += factor.example_cost(form)
        layers.append(
            LayerPlan(
                tuple(paths[v] for v in factor.variables),
                factor.method(form),
                # Half of the pairs.
                factor.pair_cost(form) * n * (n + 1) / 2,
                sum(part.stored for part in factor.compact(form))
                * jacobian.dtype.itemsize
                * n,
            )
        )
    operations = sum(layer.operations for layer in layers)
    size = np.dtype(dtype).itemsize * int(np.prod(jacobian.outputs.shape(n, n)))
    seconds = (operations + forming * n) / _rate(dtype) + n * _seconds_a_pass(jacobian)
    return Plan(
        n,
        tuple(layers),
        operations,
        size + sum(layer.bytes for layer in layers),
        seconds,
    )


def _rate(dtype: DTypeLike) -> float:
    """Floating-point operations a second of a matrix product, measured."""
    size = 1024
    matrix = np.ones((size, size), dtype)
    matrix @ matrix
    started = time.perf_counter()
    matrix @ matrix
    return 2 * size**3 / (time.perf_counter() - started)


def _seconds_a_pass(jacobian: FactoredJacobian) -> float:
    """For one example, measured on a batch that is already compiled."""
    size = jacobian.batch_size()
    next(iter(jacobian.batches(0, size)))
    started = time.perf_counter()
    next(iter(jacobian.batches(0, size)))
    return (time.perf_counter() - started) / size
