"""A bound on a distilled student's risk, from the kernel and the teacher's outputs."""

import dataclasses
import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse.linalg import LinearOperator

from keras_kd.arguments import check_number
from keras_kd.complexity.arguments import (
    check_deciding_kind,
    check_outputs,
    check_truth,
)
from keras_kd.complexity.margin_bound import (
    DistillationBound,
    bound_terms,
    label_bound_terms,
)
from keras_kd.complexity.solvers.cholesky import KernelFactorization
from keras_kd.complexity.solvers.conditioning import IllConditioned
from keras_kd.complexity.solvers.random_features import FeatureFactorization
from keras_kd.complexity.solvers.solver import Kernel, size_of, solver_of
from keras_kd.outputs import KindName, bernoulli


def distillation_bound(
    kernel: Kernel,
    teacher_outputs: ArrayLike,
    student_outputs: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    delta: float = 0.05,
    *,
    initial_outputs: ArrayLike | None = None,
    ridge: float = 0.0,
    ill_conditioned: IllConditioned = "error",
    kernel_independent: bool = False,
    teacher_independent: bool = False,
    labels_held_out: bool = False,
    output_kind: KindName | None = None,
) -> DistillationBound:
    r"""The teacher's error + the margin to it + the complexity of what fits it.

    With probability `1 - delta` over `n` independent examples,

    $$P[f\ \text{wrong}] \le \widehat P[g\ \text{wrong}] + \varepsilon_g
    + \frac1n \sum_i \mathrm{ramp}_\gamma(u_i) + c\,r \frac{\sqrt{\mathrm{tr} K}}{n}
    + 3 \sqrt{\frac{\log(2 / \delta_j)}{2n}},$$

    `u_i` the margin of `f` for the teacher's label of `x_i`, `r = radius / gamma`
    rounded up to `r_j = 2^j`, `gamma` the one that makes the sum smallest; `c = 2` for
    one output, `c = 4` and the trace of the full kernel for several. The derivation is
    in the docstring of `keras_kd.complexity.margin_bound`.

    **Of a set of labels** it bounds the share of labels that are wrong: the mean over
    the labels of this bound for one output, each with its own radius and `gamma`, and
    with `delta / k`.

    **The function `f`** is `f_0 + h`: `h` the one of least norm in the kernel's space
    that takes the values `student_outputs - f_0` (without these, `teacher_outputs -
    f_0`), or their ridge fit. Margins and radius are those of that function. Of a
    network it speaks as far as the network is its linearisation at its initial weights,
    where `initial_outputs` are `f_0`.

    **What it needs**, and cannot see in the arrays, is to be declared; else the result
    is not `valid` and says why. Of several teachers or checkpoints compared on one
    sample, each has its part of `delta`: divide it by their number.

    Args:
        kernel: of the student, on the `n` examples: `(n, n)`, shared by all outputs,
            `(n, n, k)`, one an output, or `(n, n, k, k)`, the full one; or an
            `NTKOperator`, a `KernelFactorization` or a `FeatureFactorization`.
        teacher_outputs: `(n,)` or `(n, 1)`, whose sign is the label, or `(n, k)`, whose
            largest entry is. Logits, or soft targets. Of a set of labels `(n, k)`, the
            sign of each the label: probabilities less 1/2.
        student_outputs: of the trained student, same shape and units; `None`: the
            student fits the teacher's.
        labels: `(n,)` integers, the true classes of these examples, or one-hot
            `(n, k)`; for one output, 0 and 1; of a set of labels `(n, k)` zeros and
            ones. `None`: the teacher's error is unknown, and the bound is one on the
            probability that student and teacher disagree.
        delta: probability, above 0 and below 1, that the bound fails. The margin bound
            has `(pi^2 / 3 - 1) / 3 = 76.3%` of it, the teacher's error the rest.
        initial_outputs: `f_0`, the outputs of the student at its initial weights, same
            shape; `None`: 0.
        ridge: `lambda >= 0`, in the units of the kernel.
        ill_conditioned: as in `supervision_complexity`.
        kernel_independent: that the kernel, its scale and `f_0` do not depend on the
            sample, as those of a student at its initial weights.
        teacher_independent: that the teacher was neither trained nor selected on the
            sample.
        labels_held_out: that `labels` were used neither for the teacher nor for the
            choice of it.
        output_kind: `"categorical"`, or `"bernoulli"` for a set of labels, whose kernel
            is `(n, n)` or `(n, n, k)`; `None` for classes.

    Returns:
        `DistillationBound`: the terms by name, `total`, `gamma`, `r`, `radius`,
        `valid`, `reasons`, `vacuous`.

    Raises:
        ValueError, RuntimeError: as `supervision_complexity`; outputs are values, of
            which nothing is decided; or the kernel of a set of labels is the full one.
        TypeError: `kernel` is an operator without a trace.

    Source: Harutyunyan et al., ICLR 2023, section 2, with the theorems that the
    derivation names.

    Example:

    >>> import numpy as np
    >>> from keras_kd.complexity import distillation_bound
    >>> x = np.linspace(-1, 1, 200)
    >>> kernel = np.exp(-np.subtract.outer(x, x) ** 2)
    >>> bound = distillation_bound(kernel, np.sign(x), labels=x > 0, ridge=0.1)
    >>> list(bound.terms)
    ['teacher_error', 'teacher_confidence', 'margin', 'complexity', 'confidence']
    >>> bound.valid, len(bound.reasons)
    (False, 3)
    """
    delta = check_number("delta", delta, above=0, below=1)
    teacher = check_outputs("teacher_outputs", teacher_outputs)
    n, k = teacher.shape
    fitted = teacher
    if student_outputs is not None:
        fitted = check_outputs("student_outputs", student_outputs, (n, k))
    initial = np.zeros((n, k))
    if initial_outputs is not None:
        initial = check_outputs("initial_outputs", initial_outputs, (n, k))
    kind = check_deciding_kind(output_kind, k, "a bound on what is wrong")
    decided = kind.decision(teacher)
    wrong = None
    if labels is not None:
        wrong = decided != check_truth(labels, n, k, kind)
    _check_sizes(kernel, n, k)
    label_by_label = kind is bernoulli and k > 1
    if label_by_label:
        _check_not_full(kernel, n)

    solver = solver_of(kernel, ridge, ill_conditioned)
    traces = solver.traces if label_by_label else np.array([solver.trace])
    solution = solver.solve(fitted - initial)
    # K u = Y - lambda u, and the norm of the function is that of u under K.
    shrunk = solution.ridge * solution.coefficients
    margins = kind.margin(fitted - shrunk, decided)
    offset = bool(np.any(initial))
    reasons = _reasons(
        kernel_independent, teacher_independent, labels is None or labels_held_out
    )
    if label_by_label:
        values = fitted - initial - shrunk
        squares = np.einsum("nc,nc->c", solution.coefficients, values)
        bound = label_bound_terms(
            margins,
            np.sqrt(np.maximum(squares, 0)),
            traces,
            teacher_wrong=wrong,
            delta=delta,
            offset=offset,
            reasons=reasons,
        )
    else:
        squared = solution.squared_norm - np.vdot(shrunk, solution.coefficients)
        bound = bound_terms(
            margins.reshape(n),
            math.sqrt(max(0.0, float(squared))),
            float(traces[0]),
            outputs=k,
            teacher_wrong=None if wrong is None else wrong.reshape(n),
            delta=delta,
            offset=offset,
            reasons=reasons,
        )
    return dataclasses.replace(
        bound,
        ridge=solution.ridge,
        condition_number=solution.condition_number,
        residual=solution.residual,
    )


def _reasons(
    kernel_independent: bool, teacher_independent: bool, labels_held_out: bool
) -> tuple[str, ...]:
    declared = (
        (
            kernel_independent,
            "The kernel may depend on the sample: it must be that of a student at its "
            "initial weights, with their outputs as `initial_outputs`, or of one "
            "trained on other data. Declare it with `kernel_independent=True`.",
        ),
        (
            teacher_independent,
            "The teacher may have seen the sample: it must have been neither trained "
            "nor selected on these examples. Declare it with "
            "`teacher_independent=True`.",
        ),
        (
            labels_held_out,
            "The labels may have been used for the teacher or for the choice of it. "
            "Declare that they were not with `labels_held_out=True`.",
        ),
    )
    return tuple(reason for holds, reason in declared if not holds)


def _check_not_full(kernel: Kernel, n: int) -> None:
    """A label by itself has no norm in the space of all of them."""
    if isinstance(kernel, LinearOperator):
        full = kernel.shape[0] > n
    elif isinstance(kernel, KernelFactorization | FeatureFactorization):
        full = len(kernel.row_shape) > 2
    else:
        full = np.ndim(kernel) > 3
    if full:
        raise ValueError(
            "`kernel` must be (n, n), shared by all labels, or (n, n, k), one a label, "
            "for a set of labels, output_kind='bernoulli'. Received: a full kernel. "
            "`np.einsum('ijcc->ijc', kernel)` is one a label."
        )


def _check_sizes(kernel: Kernel, n: int, k: int) -> None:
    """Before the factorisation, which may be long."""
    rows, outputs = size_of(kernel)
    if rows != n or outputs not in (None, k):
        raise ValueError(
            "`kernel` must be of the examples and outputs of `teacher_outputs`, of "
            f"shape {(n, k)}. Received: {rows} examples"
            + ("" if outputs is None else f", {outputs} outputs")
        )
