"""Ranks teachers, stages and temperatures for a student that is not trained."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Literal, TypedDict

import keras
import numpy as np
from numpy.typing import ArrayLike, NDArray

from keras_kd.arguments import check_choice, check_integer_or_none, check_number
from keras_kd.complexity.agreement import fidelity
from keras_kd.complexity.arguments import check_labels
from keras_kd.complexity.bound import distillation_bound
from keras_kd.complexity.margin import accuracy, margins
from keras_kd.complexity.prediction import predict
from keras_kd.complexity.ranking.arguments import (
    check_classes,
    checked_criterion,
    checked_kernel,
    checked_temperatures,
    outputs_of,
    split,
)
from keras_kd.complexity.ranking.report import (
    CRITERIA,
    Criterion,
    TeacherReport,
    TeacherRow,
    ranks,
)
from keras_kd.complexity.ranking.teacher_logits import (
    TeacherLogits,
    Teachers,
    check_teachers,
    logits_of_teachers,
    named_teachers,
)
from keras_kd.complexity.solvers.cholesky import KernelFactorization
from keras_kd.complexity.solvers.random_features import FeatureFactorization
from keras_kd.complexity.supervision import adjusted_supervision_complexity
from keras_kd.complexity.targets import Kind, soft_targets
from keras_kd.forward import Examples
from keras_kd.ntk import empirical_ntk, ntk_features
from keras_kd.outputs import decided_class

# In units of the kernel's mean diagonal entry.
RELATIVE_RIDGE = 1e-3


class _Bounding(TypedDict):
    """What `distillation_bound` is told of every teacher alike."""

    delta: float
    kernel_independent: bool
    teacher_independent: bool
    labels_held_out: bool


def compare_teachers(
    student: keras.Model,
    teachers: Teachers,
    x: Any,
    y: ArrayLike | None = None,
    temperatures: float | Sequence[float] = (1, 2, 4, 8),
    *,
    criterion: Criterion | None = None,
    held_out: float | ArrayLike = 0.25,
    ridge: float | None = None,
    kernel: ArrayLike | None = None,
    features: int | None = None,
    kind: Kind = "probabilities",
    teacher_outputs: Literal["logits", "probabilities"] = "logits",
    batch_size: int | None = None,
    seed: int = 0,
    delta: float = 0.05,
    kernel_independent: bool = False,
    teacher_independent: bool = False,
    labels_held_out: bool = False,
    progress: bool = False,
) -> TeacherReport:
    r"""Which teacher, which stage of its training, which temperature for this student.

    No student is trained. The student's NTK is computed once, and one factorisation of
    it serves the soft targets of all teachers at all temperatures: how complex they
    are, and what a kernel machine, the student linearised at its present weights,
    learns from them.

    The kernel is the trace NTK over the number of classes, summed in float64.

    Args:
        student: a built `keras.Model` of logits, as a rule at its initial weights.
        teachers: a model, a `TeacherTrajectory` (each checkpoint has rows of its own;
            of custom classes under `keras.saving.custom_object_scope`), an array of
            logits `(n, k)`, or a list or `{name: teacher}` dictionary of such.
        x: the `n` examples, as in `empirical_ntk`.
        y: `(n,)` integers, their true classes; `None`: unknown, and what is measured is
            agreement with the teacher.
        temperatures: numbers > 0.
        criterion: the column of `TeacherRow` that ranks: `"heldout_accuracy"`,
            `"heldout_fidelity"`, `"teacher_accuracy"`, `"complexity"`,
            `"complexity_per_margin"`, `"complexity_per_norm"`, `"leave_one_out_error"`
            or `"bound_total"`. `None`: `"bound_total"`, which agreed best with
            how students turned out (docs/results/choosing-a-teacher.md), without
            labels `"heldout_fidelity"`, which did not: without labels nothing says
            that an early stage knows little.
        held_out: the share of the examples, above 0 and below 1, that the kernel
            machine is tested on and all else leaves alone, drawn by `seed`; or the
            indices of these examples.
        ridge: > 0, in the units of the kernel; `None`: a thousandth of the mean of the
            kernel's diagonal over the examples that are fitted. The report says what
            it was. A tenth and ten times of it are tried as well.
        kernel: `(n, n)` array, the kernel if it is known already:
            `empirical_ntk(student, x, accumulate="float64") / k`.
        features: number of features that stand for the kernel, for many examples
            (`ntk_features`); `None`: the kernel itself.
        kind: of the targets, `"probabilities"` or `"logits"`; both centred over the
            classes and divided by the temperature.
        teacher_outputs: what teachers that are models give, `"logits"` or
            `"probabilities"`.
        batch_size: examples a pass; `None`: what fits.
        seed: of the draw of the held-out examples, and of the features.
        delta: probability, above 0 and below 1, that one of the bounds fails; teachers
            and stages share it.
        kernel_independent: as in `distillation_bound`.
        teacher_independent: as in `distillation_bound`.
        labels_held_out: as in `distillation_bound`.
        progress: whether to show progress bars.

    Returns:
        `TeacherReport`.

    Raises:
        TypeError: `student` is not a Keras model, or a teacher none of the above.
        ValueError: an argument is not as above, the outputs do not tell classes apart,
            or the kernel is not positive definite at this `ridge`.
        FileNotFoundError: a checkpoint is missing.

    Source: Harutyunyan et al., "Supervision Complexity and its Role in Knowledge
    Distillation", ICLR 2023, sections 2 and 3.

    Example:

    >>> import keras, numpy as np
    >>> from keras_kd.complexity import compare_teachers
    >>> x = np.random.default_rng(0).standard_normal((40, 2)).astype("float32")
    >>> y = (x[:, 0] > 0).astype(int)
    >>> student = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    >>> good = np.stack([-x[:, 0], x[:, 0]], axis=1)
    >>> bad = np.stack([-x[:, 1], x[:, 1]], axis=1)
    >>> report = compare_teachers(student, {"good": good, "bad": bad}, x, y, (1, 4))
    >>> report.best.teacher, len(report.rows)
    ('good', 4)
    """
    ranked_by = checked_criterion(criterion, y is not None)
    taus = checked_temperatures(temperatures)
    check_choice("kind", kind, ("probabilities", "logits"))
    check_choice("teacher_outputs", teacher_outputs, ("probabilities", "logits"))
    delta = check_number("delta", delta, above=0, below=1)
    if ridge is not None:
        ridge = check_number("ridge", ridge, above=0)
    for argument, value in (("features", features), ("batch_size", batch_size)):
        check_integer_or_none(
            argument, value, at_least=1, expected="a positive integer or None"
        )
    if kernel is not None and features is not None:
        raise ValueError(
            "`features` stand for a kernel that is not computed: leave out one of "
            f"`kernel` and `features`. Received: both, features={features}"
        )
    named = named_teachers(teachers)
    examples = Examples(x, "x")
    fit, held = split(examples.n, held_out, seed)
    matrix = None if kernel is None else checked_kernel(kernel, examples.n)
    k = outputs_of(student, examples)
    labels = None
    if y is not None:
        labels = check_labels(keras.ops.convert_to_numpy(y), examples.n, k, "y")
    check_classes([student, *named.values()], k)
    check_teachers(named, examples.n, k, teacher_outputs)

    # Before the kernel, which takes longer and has less to find fault with.
    stages = logits_of_teachers(
        named, examples, k, teacher_outputs, batch_size, progress
    )
    candidates = [(stage, tau) for stage in stages for tau in taus]
    targets = [soft_targets(stage.logits, tau, kind) for stage, tau in candidates]
    if features is not None:
        phi = ntk_features(student, examples, features, seed, batch_size=batch_size)
        phi = phi / math.sqrt(k)
        fitted, tested = phi[fit], phi[held]
        trace = float(np.sum(np.square(fitted, dtype=np.float64)))
    else:
        if matrix is None:
            matrix = _kernel(student, examples, k, batch_size, progress)
        fitted, tested = matrix[np.ix_(fit, fit)], matrix[np.ix_(held, fit)]
        trace = float(np.trace(fitted, dtype=np.float64))
    if ridge is None:
        ridge = RELATIVE_RIDGE * trace / len(fit)
    bounding: _Bounding = {
        # The margin bound holds for all temperatures at once.
        "delta": delta / len(stages),
        "kernel_independent": kernel_independent,
        "teacher_independent": teacher_independent,
        "labels_held_out": labels_held_out,
    }

    factorization: type[KernelFactorization] | type[FeatureFactorization] = (
        KernelFactorization if features is None else FeatureFactorization
    )
    rows, orders, solvers = [], [], []
    for factor in (1.0, 0.1, 10.0):
        solver = factorization(
            fitted,
            ridge * factor,
            # The least ridge is there for comparison alone.
            ill_conditioned="warn" if factor < 1 else "error",
        )
        measured = _measure(
            solver, tested, candidates, targets, fit, held, labels, bounding
        )
        rows.append(measured)
        values = [getattr(row, ranked_by) for row in measured]
        orders.append(ranks(values, CRITERIA[ranked_by]))
        solvers.append((solver.ridge, solver.condition_number))
        # Two factors of many examples may not fit.
        del solver
    return TeacherReport(
        rows=tuple(
            dataclasses.replace(
                row, rank=rank, rank_less_ridge=less, rank_more_ridge=more
            )
            for row, rank, less, more in zip(rows[0], *orders, strict=True)
        ),
        student=student.name,
        criterion=ranked_by,
        kind=kind,
        n=len(fit),
        n_heldout=len(held),
        ridge=solvers[0][0],
        less_ridge=solvers[1][0],
        more_ridge=solvers[2][0],
        condition_number=solvers[0][1],
        residual=max(row.bound.residual or 0.0 for row in rows[0]),
        features=features,
    )


def _kernel(
    student: keras.Model,
    examples: Examples,
    k: int,
    batch_size: int | None,
    progress: bool,
) -> NDArray[np.float64]:
    kernel = empirical_ntk(
        student,
        examples,
        batch_size=batch_size,
        accumulate="float64",
        progress=progress,
    )
    kernel /= k
    return kernel


def _measure(
    solver: KernelFactorization | FeatureFactorization,
    tested: NDArray[np.floating],
    candidates: Sequence[tuple[TeacherLogits, float]],
    targets: Sequence[NDArray[np.float64]],
    fit: NDArray[np.intp],
    held: NDArray[np.intp],
    labels: NDArray[np.int_] | None,
    bounding: _Bounding,
) -> list[TeacherRow]:
    """The rows, without their ranks, at one ridge.

    Args:
        solver: of the examples that are fitted.
        tested: kernel of the held-out with the fitted examples, or their features.
        candidates: `(TeacherLogits, temperature)` for each row.
        targets: `(n, k)` for each row.
        fit: indices of the examples that are fitted.
        held: indices of the others.
        labels: `(n,)` or `None`.
        bounding: what `distillation_bound` is told.
    """
    # One inverse gives what is left out of all targets.
    together = predict(solver, tested, np.hstack([y[fit] for y in targets]))
    assert together.leave_one_out is not None
    predictions = np.hsplit(together.predictions, len(targets))
    left_out = np.hsplit(together.leave_one_out, len(targets))
    rows = []
    for (stage, temperature), y, prediction, left in zip(
        candidates, targets, predictions, left_out, strict=True
    ):
        fitted = y[fit]
        complexity = float(adjusted_supervision_complexity(solver, fitted))
        margin = float(np.mean(margins(fitted, decided_class(fitted))))
        square = float(np.mean(np.sum(np.square(fitted), axis=1)))
        error = float(np.mean(np.sum(np.square(left - fitted), axis=1)))
        rows.append(
            TeacherRow(
                teacher=stage.name,
                step=stage.step,
                temperature=temperature,
                teacher_accuracy=None
                if labels is None
                else accuracy(stage.logits, labels),
                complexity=complexity,
                complexity_per_margin=_ratio(complexity, margin),
                complexity_per_norm=_ratio(complexity, math.sqrt(square)),
                heldout_accuracy=None
                if labels is None
                else accuracy(prediction, labels[held]),
                heldout_fidelity=fidelity(y[held], prediction),
                leave_one_out_error=_ratio(error, square),
                bound=distillation_bound(
                    solver,
                    fitted,
                    labels=None if labels is None else labels[fit],
                    **bounding,
                ),
            )
        )
    return rows


def _ratio(value: float, unit: float) -> float | None:
    return value / unit if unit > 0 else None
