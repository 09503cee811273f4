"""The functions that formulas are made of, on backend tensors and NumPy arrays alike.

A formula is written once and runs where its arguments live: differentiable in a
compiled step, or in float64 on what files and kernels hold.
"""

import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from keras import ops
from scipy import special


def _softplus(x: Any) -> Any:
    return np.logaddexp(0, x)


def _argmax(x: Any, axis: int = -1) -> Any:
    return np.argmax(x, axis=axis)


_NUMPY = SimpleNamespace(
    abs=np.abs,
    all=np.all,
    argmax=_argmax,
    cast=lambda x, dtype: x.astype(dtype),
    clip=np.clip,
    concatenate=np.concatenate,
    equal=np.equal,
    exp=np.exp,
    expm1=np.expm1,
    isfinite=np.isfinite,
    log=np.log,
    log1p=np.log1p,
    log_softmax=special.log_softmax,
    logsumexp=special.logsumexp,
    max=np.max,
    mean=np.mean,
    min=np.min,
    sigmoid=special.expit,
    softmax=special.softmax,
    softplus=_softplus,
    square=np.square,
    stack=np.stack,
    sum=np.sum,
    where=np.where,
    zeros_like=np.zeros_like,
)


def functions_for(x: Any) -> Any:
    """`keras.ops` for a tensor; for a NumPy array functions of the same names."""
    return _NUMPY if isinstance(x, np.ndarray) else ops


def weighted_mean(x: Any, shares: Sequence[float] | None) -> Any:
    """The mean over the first axis, by shares that add up to 1; `None`: equal ones."""
    if shares is None:
        return functions_for(x).mean(x, axis=0)
    return sum(share * x[i] for i, share in enumerate(shares))


def log_of_mean(log_x: Any, shares: Sequence[float] | None) -> Any:
    """The logarithm of the mean over the first axis of what is given in logarithms."""
    f = functions_for(log_x)
    if shares is None:
        return f.logsumexp(log_x, axis=0) - math.log(log_x.shape[0])
    terms = [log_x[i] + math.log(share) for i, share in enumerate(shares)]
    return f.logsumexp(f.stack(terms), axis=0)
