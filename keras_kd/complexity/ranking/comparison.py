"""Ranks teachers, stages and temperatures for a student that is not trained."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Literal

import keras
import numpy as np
from numpy.typing import ArrayLike, NDArray

from keras_kd.arguments import check_choice, check_integer_or_none, check_number
from keras_kd.complexity.ranking.arguments import (
    check_gives_logits,
    checked_kernel,
    checked_temperatures,
    checked_truth,
    first_outputs,
    split,
    temperatures_of,
)
from keras_kd.complexity.ranking.criteria import CRITERIA, Criterion, checked_criterion
from keras_kd.complexity.ranking.kind import kind_of_outputs
from keras_kd.complexity.ranking.measure import Bounding, Candidate, Split, measure
from keras_kd.complexity.ranking.report import TeacherReport, ranks
from keras_kd.complexity.ranking.teacher_logits import (
    Teachers,
    check_teachers,
    logits_of_teachers,
    named_teachers,
)
from keras_kd.complexity.solvers.cholesky import KernelFactorization
from keras_kd.complexity.solvers.random_features import FeatureFactorization
from keras_kd.complexity.targets import Kind, soft_targets
from keras_kd.forward import Examples
from keras_kd.ntk import empirical_ntk, ntk_features
from keras_kd.outputs import KINDS, KindName

# In units of the kernel's mean diagonal entry.
RELATIVE_RIDGE = 1e-3


def compare_teachers(
    student: keras.Model,
    teachers: Teachers,
    x: Any,
    y: ArrayLike | None = None,
    temperatures: float | Sequence[float] | None = None,
    *,
    output_kind: KindName | None = None,
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

    The kernel is the trace NTK over the number of outputs, summed in float64.

    **What the outputs mean** is said by `output_kind`, else by what is certain: a
    softmax, a sigmoid or a compiled loss of student or teachers, what a trajectory or a
    cache recorded; then by `y`: integers or one-hot rows are classes, other zeros and
    ones `(n, k)` a set of labels, other numbers values. Rows that all sum to 1 are
    one-hot, unless something says that they are labels of which each example has one. A
    squared error alone makes values of outputs whose `y` are neither classes nor
    labels, or not given. Of what nothing is known, classes.

    **Of a set of labels** accuracy and fidelity are shares of labels, and the bound is
    one on the share that is wrong. **Of values** nothing is decided: there are no
    temperatures, accuracies, margins or bounds; the targets are the teacher's values
    less their mean over the examples that are fitted, which a bias learns; and errors
    are squared, summed over the outputs in the units that they have.

    Args:
        student: a built `keras.Model` of logits, or of values, as a rule at its initial
            weights.
        teachers: a model, a `TeacherTrajectory` or a `SupervisionCache` (each
            checkpoint has rows of its own; of custom classes under
            `keras.saving.custom_object_scope`), an array of logits `(n, k)`, or a list
            or `{name: teacher}` dictionary of such. A cache, or one stage or a mean of
            it, must hold every example of `x`, and all logits.
        x: the `n` examples, as in `empirical_ntk`.
        y: `(n,)` integers, their true classes, or one-hot `(n, k)`; `(n, k)` zeros and
            ones, their labels; `(n, k)` numbers, their values, or `(n,)` of one output.
            `None`: unknown, and what is measured is agreement with the teacher.
        temperatures: numbers > 0; `None`: 1, 2, 4 and 8, and 1 alone of values.
        output_kind: `"categorical"`, `"bernoulli"` (a set of labels; one logit that
            tells two classes apart) or `"continuous"` (values); `None`: see above.
        criterion: the column of `TeacherRow` that ranks: `"heldout_accuracy"`,
            `"heldout_fidelity"`, `"teacher_accuracy"`, `"complexity"`,
            `"complexity_per_margin"`, `"complexity_per_norm"`, `"leave_one_out_error"`
            or `"bound_total"`. `None`: `"bound_total"`, which agreed best with
            how students turned out (docs/results/choosing-a-teacher.md), without
            labels `"heldout_fidelity"`, which did not: without labels nothing says
            that an early stage knows little. Of values `"complexity"`,
            `"complexity_per_norm"`, `"leave_one_out_error"`, `"teacher_error"` or
            `"heldout_error"`. `None`: the last, the error of the kernel machine where
            it was not fitted, against `y`; without labels `"leave_one_out_error"`,
            how far it misses the teacher there, of which the same is to be said.
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
            classes and divided by the temperature. Values are their own.
        teacher_outputs: what teachers that are models give, `"logits"` or
            `"probabilities"`. A cache holds logits, whatever its teacher gave.
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
        ValueError: an argument is not as above, models contradict each other about what
            the outputs mean, outputs of that kind have no such criterion or
            temperature, a cache lacks an example, or the kernel is not positive
            definite at this `ridge`.
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
    if criterion is not None:
        check_choice("criterion", criterion, tuple(CRITERIA))
    asked = checked_temperatures(temperatures)
    if output_kind is not None:
        check_choice("output_kind", output_kind, tuple(KINDS))
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
    few = first_outputs(student, examples)
    k = int(few.shape[1])
    given = None if y is None else keras.ops.convert_to_numpy(y)
    meaning = kind_of_outputs(output_kind, student, named, k, given)
    name: KindName = meaning.NAME  # type: ignore[assignment]
    # What was inferred from the activations need not be held against them.
    said = [meaning] if output_kind is not None or not meaning.DECIDES else []
    check_gives_logits(student, few, said)
    ranked_by = checked_criterion(criterion, meaning, given is not None)
    taus = temperatures_of(meaning, asked)
    truth = checked_truth(given, examples.n, k, meaning)
    check_teachers(named, examples, k, teacher_outputs, meaning, said)

    # Before the kernel, which takes longer and has less to find fault with.
    stages = logits_of_teachers(
        named, examples, k, teacher_outputs, batch_size, progress, meaning, said
    )
    candidates = [
        Candidate(stage, tau, soft_targets(stage.logits, tau, kind, output_kind=name))
        for stage in stages
        for tau in taus
    ]
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
    bounding: Bounding = {
        # The margin bound holds for all temperatures at once.
        "delta": delta / len(stages),
        "kernel_independent": kernel_independent,
        "teacher_independent": teacher_independent,
        "labels_held_out": labels_held_out,
    }

    factorization: type[KernelFactorization] | type[FeatureFactorization] = (
        KernelFactorization if features is None else FeatureFactorization
    )
    rows, orders, solvers, residuals = [], [], [], []
    for factor in (1.0, 0.1, 10.0):
        solver = factorization(
            fitted,
            ridge * factor,
            # The least ridge is there for comparison alone.
            ill_conditioned="warn" if factor < 1 else "error",
        )
        measured, residual = measure(
            solver, tested, candidates, Split(fit, held, truth), name, bounding
        )
        rows.append(measured)
        residuals.append(residual)
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
        residual=residuals[0],
        features=features,
        output_kind=name,
        outputs=k,
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
