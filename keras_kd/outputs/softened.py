r"""Divergence of softened predictions, without differences of nearly equal numbers.

At a high temperature, or between logits that are close, $\log p$ and $\log q$ agree
in most of their digits, and $\sum p (\log p - \log q)$ keeps only their rounding. With
$r = \log q - \log p$ taken from the difference of the logits,

$\mathrm{KL}(p \| q) = \sum_i p_i\,(e^{r_i} - 1 - r_i)$,

of which no term is negative.
"""

from typing import Any

from keras_kd.outputs.arithmetic import functions_for

# A logit below this counts as this, the `-inf` of a class that is banned among them:
# its probability is 0 at every temperature, and 0 times it is 0.
BANNED = -1e9
# Beyond this the logarithms differ enough to be subtracted.
_FAR = 30.0
# Below this e^r - 1 - r is a sum, of twelve terms.
_NEAR = 0.25


def divergence(teacher: Any, student: Any, temperature: Any = 1.0) -> Any:
    r"""$\mathrm{KL}(p_t \| p_s)$ of softmax predictions in nats, `(...)`.

    Args:
        teacher: logits `(..., classes)`.
        student: logits of the same shape.
        temperature: number or scalar tensor.
    """
    teacher, student = without_banned(teacher), without_banned(student)
    return divergence_after(
        teacher / temperature,
        student / temperature,
        (student - teacher) / temperature,
    )


def divergence_after(before: Any, after: Any, change: Any) -> Any:
    """The divergence of what logits predict before a change of them, `(...)`.

    Args:
        before: logits over the temperature, `(..., classes)`, none of them infinite.
        after: `before + change`.
        change: as exact as it is known: the sum may have lost it.
    """
    f = functions_for(after)
    log_p, log_q = f.log_softmax(before, axis=-1), f.log_softmax(after, axis=-1)
    p = f.exp(log_p)
    change, growth, near = _growth(f, p, change)
    ratio = f.where(near, change - growth, log_q - log_p)
    small = f.abs(ratio) < _NEAR
    # The inner `where` keeps the gradient of what the outer one leaves out finite.
    r = f.where(small, ratio, 0.0)
    series = 1.0
    for n in range(12, 2, -1):
        series = 1.0 + r / n * series
    terms = f.where(small, p * f.square(r) / 2.0 * series, f.exp(log_q) - p - p * ratio)
    return f.sum(terms, axis=-1)


def log_sum_exp_change(before: Any, after: Any, change: Any) -> Any:
    """By how much the logarithm of the sum of exponentials grows, `(...)`.

    Args:
        before: `(..., classes)`.
        after: `before + change`.
        change: as exact as it is known.
    """
    f = functions_for(after)
    p = f.softmax(before, axis=-1)
    mean = f.sum(p * change, axis=-1)
    _, growth, near = _growth(f, p, change)
    far = f.logsumexp(after, axis=-1) - f.logsumexp(before, axis=-1)
    return f.where(near[..., 0], mean + growth[..., 0], far)


def _growth(f: Any, p: Any, change: Any) -> tuple[Any, Any, Any]:
    """A change without its mean, the growth of log-sum-exp that is left, and where.

    The growth is not negative: the exponential is convex.
    """
    centred = change - f.sum(p * change, axis=-1, keepdims=True)
    near = f.max(centred, axis=-1, keepdims=True) < _FAR
    centred = f.where(near, centred, 0.0)
    growth = f.log1p(f.sum(p * f.expm1(centred), axis=-1, keepdims=True))
    return centred, growth, near


def entropy(outputs: Any, temperature: Any = 1.0) -> Any:
    r"""$-\sum p \log p$ of softmax predictions in nats, `(...)`."""
    f = functions_for(outputs)
    log_p = f.log_softmax(without_banned(outputs) / temperature, axis=-1)
    return -f.sum(f.exp(log_p) * log_p, axis=-1)


def without_banned(logits: Any) -> Any:
    """The logits with a finite one for each class that is banned."""
    return functions_for(logits).where(logits < BANNED, BANNED, logits)
