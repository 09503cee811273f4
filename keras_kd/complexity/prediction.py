"""What a kernel machine predicts, and how well it would do on examples left out."""

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray

from keras_kd.complexity.arguments import (
    check_array,
    check_deciding_kind,
    check_truth,
)
from keras_kd.complexity.margin import accuracy
from keras_kd.complexity.solvers.conditioning import IllConditioned
from keras_kd.complexity.solvers.solver import Kernel, solver_of
from keras_kd.outputs import KindName


@dataclasses.dataclass(frozen=True)
class Prediction:
    """A kernel machine's predictions.

    Attributes:
        predictions: of the test examples, `(n_test, k)`.
        leave_one_out: of each training example by the machine fitted to all others,
            `(n, k)`; `None` for an operator, which has no factorisation.
        leave_one_out_error: mean over the examples of the squared distance of
            `leave_one_out` to the targets; `None` likewise.
        accuracy: on the test examples; `None`: no labels.
        ridge: that was added to the kernel's diagonal.
        condition_number: as in `Complexity`.
        residual: relative residual of the solve.
        iterations: of conjugate gradients; `None`: a direct solve.
    """

    predictions: NDArray[np.float64]
    leave_one_out: NDArray[np.float64] | None
    leave_one_out_error: float | None
    accuracy: float | None
    ridge: float
    condition_number: float
    residual: float
    iterations: int | None


def predict(
    kernel_train: Kernel,
    kernel_test: ArrayLike,
    targets: ArrayLike,
    ridge: float = 0.0,
    *,
    labels: ArrayLike | None = None,
    output_kind: KindName | None = None,
    ill_conditioned: IllConditioned = "error",
    tolerance: float = 1e-6,
    preconditioner: ArrayLike | None = None,
) -> Prediction:
    r"""Kernel (ridge) regression, $K_* (K + \lambda I)^{-1} Y$.

    It is what the student, linearised about its weights, would predict after training
    on these targets; of residuals, add its present outputs. The predictions of the
    training examples left out one by one are closed-form, from the same factorisation.

    Args:
        kernel_train: as `kernel` in `supervision_complexity`.
        kernel_test: of test with training examples, `(n_test, n)`, `(n_test, n, k)` or
            `(n_test, n, k, k)` as `kernel_train`; for a `FeatureFactorization` the
            features of the test examples, `(n_test, dim)`.
        targets: `(n,)` or `(n, k)`, of the training examples.
        ridge: `lambda >= 0`, in the units of the kernel.
        labels: for the accuracy, as in `margins`: the largest of `k` predictions is the
            class, and of one its sign, 0 or 1. So targets are to be centred.
        output_kind: what the labels are of, `"categorical"` or `"bernoulli"`; `None`
            for classes.
        ill_conditioned: as in `supervision_complexity`.
        tolerance: as in `supervision_complexity`.
        preconditioner: as in `supervision_complexity`.

    Returns:
        `Prediction`.

    Raises:
        ValueError, RuntimeError: as `supervision_complexity`, and as `margins` of
            labels.

    Source: Rasmussen & Williams, *Gaussian Processes for Machine Learning*, equations
    2.25 and 5.12.

    Example:

    >>> import numpy as np
    >>> from keras_kd.complexity import predict
    >>> x, new = np.arange(6.0), np.array([2.5])
    >>> kernel = lambda a, b: np.exp(-np.subtract.outer(a, b) ** 2 / 8)
    >>> result = predict(kernel(x, x), kernel(new, x), np.sin(x))
    >>> bool(abs(result.predictions[0, 0] - np.sin(2.5)) < 0.01)
    True
    """
    solver = solver_of(kernel_train, ridge, ill_conditioned, tolerance, preconditioner)
    columns = solver.as_columns(targets)
    test = check_array(kernel_test, "kernel_test")
    row = solver.row_shape_for(columns)
    if test.shape[1:] != row or len(test) == 0:
        expected = ", ".join(map(str, ("n_test", *row)))
        raise ValueError(
            f"`kernel_test` must be of shape ({expected}). Received: shape {test.shape}"
        )
    if labels is not None:
        kind = check_deciding_kind(output_kind, columns.shape[1], "an accuracy")
        labels = check_truth(labels, len(test), columns.shape[1], kind)
    solution = solver.solve(columns)
    predictions = solver.predictions(test, columns, solution)
    left, error = solver.leave_one_out(columns), None
    if left is not None:
        error = float(np.mean(np.sum(np.square(left - columns), axis=1)))
    return Prediction(
        predictions,
        left,
        error,
        None if labels is None else accuracy(predictions, labels, output_kind),
        solution.ridge,
        solution.condition_number,
        solution.residual,
        solution.iterations,
    )
