"""The rows of the report: what one solver says of every teacher at a temperature."""

import math
from collections.abc import Sequence
from typing import NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray

from keras_kd.complexity.agreement import fidelity
from keras_kd.complexity.bound import distillation_bound
from keras_kd.complexity.margin import accuracy
from keras_kd.complexity.prediction import predict
from keras_kd.complexity.ranking.row import TeacherRow
from keras_kd.complexity.ranking.teacher_logits import TeacherLogits
from keras_kd.complexity.solvers.cholesky import KernelFactorization
from keras_kd.complexity.solvers.random_features import FeatureFactorization
from keras_kd.complexity.supervision import adjusted_supervision_complexity
from keras_kd.outputs import Kind, KindName, kind_named


class Bounding(TypedDict):
    """What `distillation_bound` is told of every teacher alike."""

    delta: float
    kernel_independent: bool
    teacher_independent: bool
    labels_held_out: bool


class Candidate(NamedTuple):
    """What one row is about.

    Attributes:
        said: what the teacher, or one stage of it, says of all examples.
        temperature: of the targets.
        targets: `(n, k)`.
    """

    said: TeacherLogits
    temperature: float
    targets: NDArray[np.float64]


class Split(NamedTuple):
    """What the examples are used for.

    Attributes:
        fit: indices of the examples that are fitted.
        held: indices of the others.
        truth: `(n,)` classes, `(n, k)` labels or values; `None`: unknown.
    """

    fit: NDArray[np.intp]
    held: NDArray[np.intp]
    truth: NDArray[np.int_] | NDArray[np.float64] | None


class _Fit(NamedTuple):
    """A kernel machine's targets on the fitted examples, and what it makes of them."""

    targets: NDArray[np.float64]
    left_out: NDArray[np.float64]
    heldout: NDArray[np.float64]


def measure(
    solver: KernelFactorization | FeatureFactorization,
    tested: NDArray[np.floating],
    candidates: Sequence[Candidate],
    split: Split,
    output_kind: KindName,
    bounding: Bounding,
) -> tuple[list[TeacherRow], float]:
    """The rows, without their ranks, at one ridge, and the largest residual.

    Args:
        solver: of the examples that are fitted.
        tested: kernel of the held-out with the fitted examples, or their features.
        candidates: one for each row.
        split: which examples are which, and their labels.
        output_kind: of the outputs.
        bounding: what `distillation_bound` is told.
    """
    kind = kind_named(output_kind)
    fitted = [candidate.targets[split.fit] for candidate in candidates]
    # The level of values is a bias, which is not what is hard about them.
    levels = [0.0 if kind.DECIDES else y.mean(axis=0) for y in fitted]
    fitted = [y - level for y, level in zip(fitted, levels, strict=True)]
    # One inverse gives what is left out of all targets.
    together = predict(solver, tested, np.hstack(fitted))
    assert together.leave_one_out is not None
    predictions = np.hsplit(together.predictions, len(fitted))
    left_out = np.hsplit(together.leave_one_out, len(fitted))
    fits = [
        _Fit(y, left, level + prediction)
        for y, left, level, prediction in zip(
            fitted, left_out, levels, predictions, strict=True
        )
    ]
    pairs = zip(candidates, fits, strict=True)
    if kind.DECIDES:
        rows = [
            _row_of_decisions(solver, *pair, split, kind, output_kind, bounding)
            for pair in pairs
        ]
    else:
        rows = [_row_of_values(solver, *pair, split) for pair in pairs]
    bounds = [row.bound for row in rows if row.bound is not None]
    residuals = [bound.residual or 0.0 for bound in bounds] or [together.residual]
    return rows, max(residuals)


def _row_of_decisions(
    solver: KernelFactorization | FeatureFactorization,
    candidate: Candidate,
    fit: _Fit,
    split: Split,
    kind: Kind,
    output_kind: KindName,
    bounding: Bounding,
) -> TeacherRow:
    """Of classes, or of a set of labels."""
    said, truth = candidate.said, split.truth
    complexity, per_norm, error = _complexities(solver, fit)
    margins = kind.margin(fit.targets, kind.decision(fit.targets))
    right = held_right = None
    if truth is not None:
        right = accuracy(said.logits, truth, output_kind)
        held_right = accuracy(fit.heldout, truth[split.held], output_kind)
    return TeacherRow(
        teacher=said.name,
        step=said.step,
        temperature=candidate.temperature,
        teacher_accuracy=right,
        complexity=complexity,
        complexity_per_margin=_ratio(complexity, float(np.mean(margins))),
        complexity_per_norm=per_norm,
        heldout_accuracy=held_right,
        heldout_fidelity=fidelity(
            candidate.targets[split.held], fit.heldout, output_kind
        ),
        leave_one_out_error=error,
        bound=distillation_bound(
            solver,
            fit.targets,
            labels=None if truth is None else truth[split.fit],
            output_kind=output_kind,
            **bounding,
        ),
    )


def _row_of_values(
    solver: KernelFactorization | FeatureFactorization,
    candidate: Candidate,
    fit: _Fit,
    split: Split,
) -> TeacherRow:
    """Of values, by which nothing is decided."""
    said, truth = candidate.said, split.truth
    complexity, per_norm, error = _complexities(solver, fit)
    teacher_error = heldout_error = None
    if truth is not None:
        variance = _mean_square(truth - truth.mean(axis=0))
        teacher_error = _ratio(_mean_square(said.logits - truth), variance)
        heldout_error = _ratio(_mean_square(fit.heldout - truth[split.held]), variance)
    return TeacherRow(
        teacher=said.name,
        step=said.step,
        temperature=candidate.temperature,
        teacher_accuracy=None,
        complexity=complexity,
        complexity_per_margin=None,
        complexity_per_norm=per_norm,
        heldout_accuracy=None,
        heldout_fidelity=None,
        leave_one_out_error=error,
        bound=None,
        heldout_error=heldout_error,
        teacher_error=teacher_error,
    )


def _complexities(
    solver: KernelFactorization | FeatureFactorization, fit: _Fit
) -> tuple[float, float | None, float | None]:
    """The complexity, it per norm of the targets, and the leave-one-out error."""
    complexity = float(adjusted_supervision_complexity(solver, fit.targets))
    square = _mean_square(fit.targets)
    error = _mean_square(fit.left_out - fit.targets)
    return complexity, _ratio(complexity, math.sqrt(square)), _ratio(error, square)


def _mean_square(values: NDArray[np.floating]) -> float:
    """The mean over the examples of the squared norm of `(n, k)`."""
    return float(np.mean(np.sum(np.square(values), axis=1)))


def _ratio(value: float, unit: float) -> float | None:
    return value / unit if unit > 0 else None
