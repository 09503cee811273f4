r"""A margin bound for functions of a kernel's ball, term by term.

The kernel, an offset `f_0` and the teacher's label `t(x)` do not depend on the sample.
Functions are `f = f_0 + h` with `h` of kernel norm at most `B`; `u_i` is the margin of
`f` for `t(x_i)`, `ramp_gamma` is `1 / gamma`-Lipschitz and at least `1[u <= 0]`.

*One class of functions.* With probability `1 - delta'`, for all `f` of the class,

    P[f disagrees with t] <= mean ramp_gamma(u_i) + 2 R + 3 sqrt(log(2 / delta') / 2n),

`R` the empirical Rademacher average of `ramp_gamma(u)`: McDiarmid once for the largest
deviation and once for `R`, `delta' / 2` each (Mohri, theorem 3.3). A fixed `f_0` adds a
term of mean zero to the supremum, so `R` is that of the ball.

*One output*, `u = t f`, `t = +-1`. By contraction `gamma R` is at most the average of
the ball, `(1/n) E sup_h sum_i s_i h(x_i) = (B/n) E sqrt(s' K s) <= B sqrt(tr K) / n`.

*`k` outputs*, `u = f_t - max_{c != t} f_c`, two forms:

- Maurer (2016): `u` is `sqrt(2)`-Lipschitz in `f` in the Euclidean norm, and
  contraction of vectors costs another `sqrt(2)`: `gamma R <= 2 B sqrt(tr K_full) / n`.
- Mohri, theorem 9.2: the ramp is the same with `f_c - 2 gamma 1[c = t]` under the
  maximum, now over all `c`; the average of a sum, and of a maximum, is at most the sum
  of the averages, and that of `1[t = c] f_c` is at most that of the ball of output `c`:
  `gamma R <= 2 sum_c B sqrt(tr K_c) / n <= 2 k B sqrt(tr K) / n`, `tr K` the mean of
  the outputs' traces.

`tr K_full = k tr K`, so the first is smaller by `sqrt(k)`. Both bound the same number,
so the smaller one is for free.

*A set of `k` labels*, each decided by the sign of its own output. The risk is the share
of labels that are wrong, `(1/k) sum_c P[f_c wrong]`, and every label is a problem of
one output: `f_c = f_0c + h_c` with `|h_c| <= B_c`, `u_ic = +- f_c(x_i)`, `tr K_c` its
own kernel's trace or `tr K` where they share it, and a radius, a margin and a part
`delta / k` of its own. With probability `1 - delta` all `k` bounds hold together, and
so does their mean, term by term:

    (1/k) sum_c P[f_c wrong] <= (1/k) sum_c [ teacher's error on c + its confidence
        + mean ramp_(gamma_c)(u_ic) + 2 r_c sqrt(tr K_c) / n
        + 3 sqrt(log(2 k / delta_jc) / 2n) ],

`delta_jc` the part that one label alone would have. Labels of one example may depend on
each other: nothing was asked of them. With a shared kernel `sum_c B_c^2 = B^2`, so that
the mean radius is at most `B / sqrt(k)`; the vector form above would have `sqrt(2) B`.

*All radii and margins at once.* Without `f_0`, `f / gamma` is in the ball of radius
`r = B / gamma`, so the class depends on `r` alone. The union is over `r_j = 2^j`, all
integers `j`, `delta_j = delta / (3 (1 + |j|)^2)`, which sum to
`(pi^2 / 3 - 1) delta / 3 = 0.763 delta`; any `gamma >= B / r_j` may then be chosen
after the fact, and the smallest is the best. With `f_0` the class also depends on
`f_0 / gamma`, and `gamma` is not free: the union is over `gamma_i = 2^(i/4)` too,
`delta_ij = delta / (9 (1 + |i|)^2 (1 + |j|)^2)`, 0.583 `delta` together. What the first
sum leaves of `delta` is for the teacher's error.

Sources: Mohri, Rostamizadeh & Talwalkar, *Foundations of Machine Learning*, 2nd
edition; Bartlett & Mendelson, JMLR 2002; Maurer, "A vector-contraction inequality for
Rademacher complexities", ALT 2016.
"""

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv

from keras_kd.arguments import check_integer, check_number
from keras_kd.complexity.arguments import check_array

# Of delta: what the union over all r_j leaves, 1 - (pi^2 / 3 - 1) / 3.
TEACHER_SHARE = 4 / 3 - math.pi**2 / 9
# Below the largest r that is of use, ramp and complexity no longer change.
_DOUBLINGS = 64
# A power of two, so that a radius rounded up costs at most the fourth root.
_GAMMAS_PER_DOUBLING = 4


@dataclasses.dataclass(frozen=True)
class DistillationBound:
    """An upper bound on the student's risk, or on its disagreement with the teacher.

    Of a set of labels the risk is the share of labels that are wrong, and every term is
    the mean over the labels.

    Attributes:
        teacher_error: the teacher's share of errors in the sample; `None`: no labels.
        teacher_confidence: what is added to it to bound the teacher's risk; `None`: no
            labels.
        margin: mean of `ramp_gamma` of the margins.
        complexity: of the ball of radius `r`, twice its Rademacher average; the
            smallest of `complexity_forms`.
        confidence: of the margin bound, uniform in radius and margin.
        complexity_forms: the complexity term by form: `"binary"`, or
            `"vector_contraction"` and `"factor_2k"`.
        gamma: the margin, in units of the outputs; `None`, as `r` and `delta_j`, of a
            set of labels, which have one each: see `labels`.
        radius: kernel norm of the function less its fixed offset.
        r: `radius / gamma`, rounded up to a power of 2.
        n: number of examples.
        delta: the bound holds with probability `1 - delta`.
        delta_j: the part of `delta` that `confidence` had.
        reasons: why the number is a diagnostic and no guarantee; empty: it is one.
        ridge: of the fit, in the units of the kernel; `None`, as the next two: there
            was no fit.
        condition_number: of the system that was solved.
        residual: relative residual of the solve.
        labels: of a set of labels the bound of each, which has its part of `delta`.
    """

    teacher_error: float | None
    teacher_confidence: float | None
    margin: float
    complexity: float
    confidence: float
    complexity_forms: dict[str, float]
    gamma: float | None
    radius: float
    r: float | None
    n: int
    delta: float
    delta_j: float | None
    reasons: tuple[str, ...] = ()
    ridge: float | None = None
    condition_number: float | None = None
    residual: float | None = None
    labels: tuple["DistillationBound", ...] = ()

    @property
    def terms(self) -> dict[str, float]:
        """What `total` is the sum of, by name."""
        names = (
            "teacher_error",
            "teacher_confidence",
            "margin",
            "complexity",
            "confidence",
        )
        values = {name: getattr(self, name) for name in names}
        return {name: value for name, value in values.items() if value is not None}

    @property
    def total(self) -> float:
        """The bound."""
        return sum(self.terms.values())

    @property
    def bounds(self) -> str:
        """What `total` bounds: without labels the teacher's risk is unknown."""
        return "disagreement" if self.teacher_error is None else "error"

    @property
    def valid(self) -> bool:
        """Whether what the theory needs holds, as far as was checked and declared."""
        return not self.reasons

    @property
    def vacuous(self) -> bool:
        """Whether `total` is 1 or more, which is true of any probability."""
        return self.total >= 1


def bound_terms(
    margins: ArrayLike,
    radius: float,
    trace: float,
    *,
    outputs: int = 1,
    teacher_wrong: ArrayLike | None = None,
    delta: float = 0.05,
    offset: bool = False,
    reasons: Iterable[str] = (),
) -> DistillationBound:
    r"""The bound from margins, a radius and a trace, where no kernel matrix is kept.

    Args:
        margins: `(n,)`, of the function for the teacher's labels, in units of outputs.
        radius: kernel norm `B >= 0` of the function; of `f - f_0` with an offset.
        trace: > 0, of the kernel on the sample, per output: the mean of its outputs'.
        outputs: `k >= 1`, of the function.
        teacher_wrong: `(n,)` booleans, where the teacher's label is not the true one;
            `None`: unknown.
        delta: probability, above 0 and below 1, that the bound fails.
        offset: whether the function is `f_0 + h` with a fixed `f_0` that is not 0.
        reasons: strings, why the number is no guarantee.

    Returns:
        `DistillationBound`. The error of the teacher is bounded by Clopper and Pearson
        (1934) at `TEACHER_SHARE * delta`.

    Raises:
        ValueError: an argument is out of its range, or the shapes disagree.

    Source: the derivation is in the docstring of this module.

    Example:

    >>> import numpy as np
    >>> from keras_kd.complexity import bound_terms
    >>> bound = bound_terms(np.ones(20_000), radius=1.0, trace=20_000.0)
    >>> print(f"{bound.margin:.3f} {bound.complexity:.3f} {bound.confidence:.3f}")
    0.000 0.014 0.033
    >>> bound.bounds, bound.gamma
    ('disagreement', 1.0)
    """
    delta = check_number("delta", delta, above=0, below=1)
    radius = check_number("radius", radius, at_least=0)
    trace = check_number("trace", trace, above=0)
    u = _vector("margins", margins)
    forms = _complexity_per_r(trace, len(u), outputs)
    teacher_error, teacher_confidence = _teacher_terms(teacher_wrong, u, delta)

    slope = min(forms.values())
    if offset:
        gammas, weights = _gamma_grid(u)
        least = np.log2(max(radius, np.finfo(float).tiny) / gammas)
        lowest = min(0, int(np.floor(least.min())))
        highest = max(0, int(np.ceil(least.max())))
    else:
        highest = math.floor(-math.log2(slope))
        lowest = highest - _DOUBLINGS
        # Without an offset gamma is free, and r_j is met exactly.
        gammas = radius / np.exp2(np.arange(lowest, highest + 1.0))
        gammas = gammas if radius > 0 else np.ones(1)
        weights = np.ones(len(gammas))
    j = np.arange(lowest, highest + 1)
    r = np.exp2(j.astype(float))
    deltas = delta * weights[:, None] * _weight(j)
    margin = np.array([ramp(u, gamma).mean() for gamma in gammas])
    confidence = 3 * np.sqrt(np.log(2 / deltas) / (2 * len(u)))
    totals = margin[:, None] + slope * r + confidence
    totals[radius > r * gammas[:, None]] = np.inf
    a, b = np.unravel_index(np.argmin(totals), totals.shape)
    return DistillationBound(
        teacher_error=teacher_error,
        teacher_confidence=teacher_confidence,
        margin=float(margin[a]),
        complexity=float(slope * r[b]),
        confidence=float(confidence[a, b]),
        complexity_forms={form: float(c * r[b]) for form, c in forms.items()},
        gamma=float(gammas[a]),
        radius=radius,
        r=float(r[b]),
        n=len(u),
        delta=delta,
        delta_j=float(deltas[a, b]),
        reasons=tuple(reasons),
    )


def label_bound_terms(
    margins: ArrayLike,
    radii: ArrayLike,
    traces: ArrayLike,
    *,
    teacher_wrong: ArrayLike | None = None,
    delta: float = 0.05,
    offset: bool = False,
    reasons: Iterable[str] = (),
) -> DistillationBound:
    r"""The bound on the share of labels that are wrong, the mean of one for each.

    Args:
        margins: `(n, k)`, of each label's output for the teacher's label.
        radii: `(k,)`, kernel norm of each output; of `f - f_0` with an offset.
        traces: `(k,)`, of each output's kernel on the sample; `(1,)` where they share
            it.
        teacher_wrong: `(n, k)` booleans; `None`: unknown.
        delta: as in `bound_terms`; each label has a `k`-th of it.
        offset: as in `bound_terms`.
        reasons: as in `bound_terms`.

    Returns:
        `DistillationBound`, with the bound of each label in `labels`.

    Raises:
        ValueError: as `bound_terms`.

    Source: the derivation is in the docstring of this module.
    """
    delta = check_number("delta", delta, above=0, below=1)
    u, each = np.asarray(margins), np.asarray(radii, np.float64)
    k = u.shape[1]
    wrong = [None] * k if teacher_wrong is None else np.asarray(teacher_wrong).T
    bounds = tuple(
        bound_terms(
            u[:, c],
            radius,
            trace,
            teacher_wrong=wrong[c],
            delta=delta / k,
            offset=offset,
            reasons=reasons,
        )
        for c, (radius, trace) in enumerate(np.broadcast(each, np.asarray(traces)))
    )
    known = teacher_wrong is not None
    return DistillationBound(
        teacher_error=_mean(b.teacher_error for b in bounds) if known else None,
        teacher_confidence=_mean(b.teacher_confidence for b in bounds)
        if known
        else None,
        margin=_mean(b.margin for b in bounds),
        complexity=_mean(b.complexity for b in bounds),
        confidence=_mean(b.confidence for b in bounds),
        complexity_forms={"binary": _mean(b.complexity for b in bounds)},
        gamma=None,
        radius=float(np.linalg.norm(each)),
        r=None,
        n=len(u),
        delta=delta,
        delta_j=None,
        reasons=tuple(reasons),
        labels=bounds,
    )


def _mean(values: Iterable[float | None]) -> float:
    return float(np.mean([value for value in values if value is not None]))


def ramp(margins: ArrayLike, gamma: float) -> NDArray[np.float64]:
    r"""$\min(1, \max(0, 1 - u / \gamma))$, elementwise.

    Args:
        margins: array of margins `u`.
        gamma: > 0, in units of the margins.

    Returns:
        Array of the same shape.
    """
    return np.clip(1 - np.asarray(margins) / gamma, 0, 1)


def _weight(j: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(1 / (3 * (1.0 + np.abs(j)) ** 2))


def _gamma_grid(
    margins: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The gammas `2^(i/4)` from a millionth of the largest margin to 16 times it."""
    largest = margins.max()
    if largest <= 0:
        # No gamma is better than another one.
        return np.ones(1), _weight(np.zeros(1))
    centre = math.floor(math.log2(largest))
    steps = _GAMMAS_PER_DOUBLING
    i = np.arange(steps * (centre - 20), steps * (centre + 4) + 1)
    return np.exp2(i / steps), _weight(i)


def _complexity_per_r(trace: float, n: int, k: int) -> dict[str, float]:
    k = check_integer("outputs", k, at_least=1)
    binary = 2 * math.sqrt(trace) / n
    if k == 1:
        return {"binary": binary}
    return {
        "vector_contraction": 2 * math.sqrt(k) * binary,
        "factor_2k": 2 * k * binary,
    }


def _teacher_terms(
    teacher_wrong: ArrayLike | None, margins: NDArray[np.float64], delta: float
) -> tuple[float, float] | tuple[None, None]:
    if teacher_wrong is None:
        return None, None
    wrong = np.asarray(teacher_wrong)
    if wrong.dtype != bool or wrong.shape != margins.shape:
        raise ValueError(
            f"`teacher_wrong` must be booleans of shape {margins.shape}. "
            f"Received: shape {wrong.shape}, dtype {wrong.dtype}"
        )
    n, errors = len(wrong), int(wrong.sum())
    upper = 1.0
    if errors < n:
        upper = float(betaincinv(errors + 1, n - errors, 1 - TEACHER_SHARE * delta))
    return errors / n, upper - errors / n


def _vector(argument: str, value: ArrayLike) -> NDArray[np.float64]:
    array = check_array(value, argument)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(
            f"`{argument}` must be of shape (n,), n >= 1. Received: shape {array.shape}"
        )
    return array.astype(np.float64)
