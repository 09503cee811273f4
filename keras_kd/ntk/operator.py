"""Products with the kernel that never form it."""

from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.linalg import LinearOperator

from keras_kd.ntk.arguments import (
    Accumulate,
    Implementation,
    check_accumulate,
    check_no_overflow,
)
from keras_kd.ntk.factors import Factor
from keras_kd.ntk.jacobian import FactoredJacobian
from keras_kd.ntk.memory import can_be_held
from keras_kd.ntk.outputs import Choice


class NTKOperator(LinearOperator):
    r"""$v \mapsto J (J^\top v)$, a `scipy.sparse.linalg.LinearOperator`.

    A product costs about as much as a forward and a backward pass over the examples
    and needs memory linear in them. So `scipy.sparse.linalg.cg` and `eigsh` work with
    kernels of which no matrix could be kept.

    Args:
        model: as in `empirical_ntk`.
        x: `n` examples.
        outputs: as in `empirical_ntk`, but for `"per_output"`. For `"full"` the
            operator is `(n k, n k)`, row `i k + o` being output `o` of example `i`.
        batch_size: examples a pass; `None`: what fits.
        implementation: as in `empirical_ntk`.
        accumulate: `"float32"` or `"float64"`, the precision of the sums.
        variables: list of trainable variables, where not all of them count.

    Attributes:
        shape: `(n, n)` or `(n k, n k)`.
        n: number of examples.

    Raises:
        TypeError, ValueError: as `empirical_ntk`.

    The model's weights count as they are when the operator is made.

    Example:

    >>> import keras, numpy as np
    >>> from keras_kd.ntk import NTKOperator
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> operator = NTKOperator(model, np.array([[1.0, 2.0], [0.0, 0.0]]))
    >>> [float(v) for v in operator @ np.array([1.0, 1.0])]
    [7.0, 2.0]
    """

    def __init__(
        self,
        model: keras.Model,
        x: Any,
        *,
        outputs: Choice = "trace",
        batch_size: int | None = None,
        implementation: Implementation = "auto",
        accumulate: Accumulate = "float64",
        variables: Iterable[keras.Variable] | None = None,
    ) -> None:
        dtype = check_accumulate(accumulate)
        if isinstance(outputs, str) and outputs == "per_output":
            raise ValueError(
                "`outputs` must be 'trace', 'full', 'pseudo', an index or a vector: "
                "the kernels of several outputs are several operators. "
                "Received: outputs='per_output'"
            )
        self._jacobian = FactoredJacobian(
            model, x, outputs, variables, batch_size, implementation
        )
        self._weights = [np.array(w) for w in model.get_weights()]
        self.n = self._jacobian.n
        self._full = self._jacobian.form == "full"
        size = self.n * (self._jacobian.q if self._full else 1)
        super().__init__(np.result_type(self._jacobian.dtype, dtype), (size, size))
        needed = self.n * self._jacobian.bytes_per_example()
        self._held: list[Factor] | None = None
        if can_be_held(needed):
            self._held = self._jacobian.rows()

    def trace(self) -> float:
        """The sum of the diagonal, in float64, without the matrix."""
        return sum(
            float(factor.in_dtype(np.float64).squared_norms("trace").sum())
            for _, factors in self._batches()
            for factor in factors
        )

    def _batches(self) -> Iterator[tuple[slice, list[Factor]]]:
        if self._held is not None:
            yield slice(0, self.n), self._held
            return
        model = self._jacobian.model
        pairs = zip(model.get_weights(), self._weights, strict=True)
        if not all(np.array_equal(now, then) for now, then in pairs):
            raise ValueError(
                f"The weights of model '{model.name}' have changed since this operator "
                "was made, and its factors were too large to be kept. Make a new one."
            )
        yield from self._jacobian.batches()

    def _matvec(self, v: ArrayLike) -> NDArray[Any]:
        if np.iscomplexobj(v):
            raise ValueError(
                "`v` must be real: the kernel is. Received: a vector of dtype "
                f"{np.asarray(v).dtype}"
            )
        vector = np.asarray(v, self.dtype).reshape(-1)
        q = self._jacobian.q
        if self._full:
            return self._product(vector.reshape(self.n, q).T).T.reshape(-1)
        # The trace is a sum of kernels, one an output.
        total = np.zeros(self.n, self.dtype)
        for o in range(q):
            weights = np.zeros((q, self.n), self.dtype)
            weights[o] = vector
            total += self._product(weights, o)[o]
        return total

    def _product(self, weights: NDArray[Any], only: int | None = None) -> NDArray[Any]:
        """`J (J^T weights)` for `(q, n)`; of one output alone where that is all."""
        chosen = slice(None) if only is None else slice(only, only + 1)
        sums: dict[int, NDArray[Any]] = {}
        for rows, factors in self._batches():
            for factor in factors:
                part = factor.select(chosen).in_dtype(self.dtype)
                for place, value in part.pull(weights[chosen, rows]).items():
                    sums[place] = sums[place] + value if place in sums else value
        result = np.zeros_like(weights)
        for rows, factors in self._batches():
            for factor in factors:
                part = factor.select(chosen).in_dtype(self.dtype)
                result[chosen, rows] += part.push(sums)
        if np.isfinite(weights).all():
            check_no_overflow(result)
        return result

    def _adjoint(self) -> "NTKOperator":
        return self
