"""The empirical neural tangent kernel, block by block."""

from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import DTypeLike, NDArray

from keras_kd.arguments import check_boolean
from keras_kd.ntk.arguments import (
    Accumulate,
    Implementation,
    check_accumulate,
    check_no_overflow,
)
from keras_kd.ntk.block_file import BlockFile, Out
from keras_kd.ntk.factors import Accumulator, Factor
from keras_kd.ntk.jacobian import FactoredJacobian
from keras_kd.ntk.memory import block_size
from keras_kd.ntk.out_file import check_out
from keras_kd.ntk.outputs import Choice
from keras_kd.progress import Progress


def empirical_ntk(
    model: keras.Model,
    x1: Any,
    x2: Any = None,
    *,
    outputs: Choice = "trace",
    batch_size: int | None = None,
    implementation: Implementation = "auto",
    accumulate: Accumulate = "float32",
    variables: Iterable[keras.Variable] | None = None,
    out: Out = None,
    progress: bool = False,
) -> NDArray[Any]:
    r"""The empirical neural tangent kernel $\Theta(x, x') = J(x) J(x')^\top$.

    `J` is the Jacobian of the model's outputs in its trainable weights, in inference
    mode. It is never formed where a layer's structure saves it: a layer that is linear
    in its weights has gradients that are sums of outer products of its inputs and the
    gradients at its outputs, all of which come from one forward and one backward pass.
    On JAX, local devices take turns at the passes over batches of examples; the
    products of the factors are the host's.

    Args:
        model: a built `keras.Model` with one output, `(m, k)` for `m` examples; an
            output of higher rank counts as flattened. Any layer will do.
        x1: `n1` examples: an array, a structure of arrays as the model takes it, or a
            data set, of whose batches `(x, y)` the `x` is taken.
        x2: `n2` examples likewise; `None`: `x1` again, which takes half the work and
            gives an exactly symmetric result.
        outputs: `"trace"`, the sum of the kernels of the `k` outputs; `"per_output"`,
            each of them; `"full"`, all pairs of outputs; an integer, one output;
            `"pseudo"`, the kernel of the sum of the outputs over `sqrt(k)`; a vector
            `v` of shape `(k,)`, the kernel of `v . f(x)`.
        batch_size: examples a forward and backward pass; `None`: what fits.
        implementation: `"structured"` never forms a gradient of a layer that has a
            rule, `"jacobian"` takes every gradient by itself through the whole model,
            `"auto"` counts operations and picks per layer.
        accumulate: `"float32"` or `"float64"`, the precision of the sums and of the
            result. A kernel that is to be inverted wants float64.
        variables: list of trainable variables, where not all of them count.
        out: an array of the result's shape, or the path of a `.npy` file to map into
            memory. It is filled block by block. A run into a file that was stopped
            goes on where it was: a record beside the file (`.progress.json`) says what
            the kernel is of, and holds each block's checksum. Blocks that are no longer
            what was written are computed again, with a warning.
        progress: whether to show a progress bar.

    Returns:
        NumPy array `(n1, n2)`, for `"per_output"` `(n1, n2, k)`, for `"full"`
        `(n1, n2, k, k)`; `out` if that was given.

    Raises:
        TypeError: `model` is not a Keras model.
        ValueError: an argument is not as above, the outputs are not finite, a layer
            mixes the examples of a batch or reads its weights where no gradient
            follows, or `out` was begun with another version, model or inputs.
        OverflowError: the kernel is not finite.
        BlockingIOError: another process writes to `out`.
        OSError: the disk of `out` is full, which is found before any work.

    Source: Jacot et al., "Neural Tangent Kernel", NeurIPS 2018; the structure is that
    of Novak et al., "Fast Finite Width Neural Tangent Kernel", ICML 2022.

    Example:

    >>> import keras, numpy as np
    >>> from keras_kd.ntk import empirical_ntk
    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(3)])
    >>> x = np.random.default_rng(0).standard_normal((5, 8)).astype("float32")
    >>> kernel = empirical_ntk(model, x)
    >>> bool(np.allclose(kernel, 3 * (x @ x.T + 1), atol=1e-5))
    True
    """
    check_accumulate(accumulate)
    check_boolean("progress", progress)
    check_out(out)

    def jacobian_of(x: Any, name: str) -> FactoredJacobian:
        return FactoredJacobian(
            model, x, outputs, variables, batch_size, implementation, name
        )

    left = jacobian_of(x1, "x1")
    right = None if x2 is None else jacobian_of(x2, "x2")
    if right is not None and right.outputs.vectors.shape != left.outputs.vectors.shape:
        raise ValueError(
            "`x1` and `x2` must give the same number of outputs. Received: "
            f"{left.outputs.vectors.shape[1]} and {right.outputs.vectors.shape[1]} of "
            f"model '{model.name}'"
        )
    dtype = np.result_type(left.dtype, accumulate)
    n2 = left.n if right is None else right.n
    shape = left.outputs.shape(left.n, n2)
    size = block_size(
        max(left.n, n2),
        left.bytes_per_example(),
        left.bytes_per_pair(dtype),
        right is None,
    )
    with (
        BlockFile(out, shape, dtype, left, right, size) as file,
        Progress(disable=not progress) as bar,
    ):
        blocks = _blocks(left.n, n2, file.block, right is None)
        task = bar.add_task("kernel", total=len(blocks))
        held: tuple[slice, list[Factor]] | None = None
        for i, j in blocks:
            if not file.is_done(i, j):
                # The rows of the last block serve the whole row of blocks.
                if held is None or held[0] != i:
                    held = None
                    held = (i, left.rows(i.start, i.stop))
                columns = None
                if right is not None:
                    columns = right.rows(j.start, j.stop)
                elif i != j:
                    columns = left.rows(j.start, j.stop)
                file.write(i, j, block_of(left, held[1], columns, dtype))
            bar.advance(task)
        return file.finish()


def block_of(
    jacobian: FactoredJacobian,
    rows: Sequence[Factor],
    columns: Sequence[Factor] | None,
    dtype: DTypeLike,
) -> NDArray[Any]:
    """The kernel of two groups of examples.

    Args:
        jacobian: says which outputs.
        rows: factors of the left group.
        columns: of the right group; `None`: the left one again.
        dtype: of the sums.

    Raises:
        OverflowError: they are not finite.
    """
    total = Accumulator(
        jacobian.form,
        jacobian.q,
        len(rows[0]),
        None if columns is None else len(columns[0]),
        dtype,
    )
    for i, factor in enumerate(rows):
        factor.add_to(total, None if columns is None else columns[i])
    block = total.result()
    check_no_overflow(block)
    return block


def _blocks(n1: int, n2: int, size: int, symmetric: bool) -> list[tuple[slice, slice]]:
    rows = [slice(i, min(i + size, n1)) for i in range(0, n1, size)]
    columns = [slice(j, min(j + size, n2)) for j in range(0, n2, size)]
    return [
        (i, j) for i in rows for j in columns if not symmetric or j.start <= i.start
    ]
