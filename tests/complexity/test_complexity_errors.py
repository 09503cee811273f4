"""What cannot be right is refused, by name, before any work."""

import re

import numpy as np
import pytest
from scipy.sparse.linalg import aslinearoperator

from keras_kd.complexity import (
    FeatureFactorization,
    KernelFactorization,
    fidelity,
    kernel_alignment,
    margins,
    predict,
    residual_targets,
    soft_targets,
    spectrum,
    supervision_complexity,
)

pytestmark = pytest.mark.once

EYE, ONES = np.eye(4), np.ones(4)
SKEW = np.eye(4) + np.eye(4, k=1)
NAN = np.array([1, 2, np.nan, 4])
PER_OUTPUT = np.repeat(EYE[..., None], 3, axis=2)
FULL = np.einsum("ij,op->ijop", EYE, np.eye(3))
OPERATOR = aslinearoperator(EYE)
SHAPES = "must be of shape (n, n), (n, n, k) or (n, n, k, k). Received: shape"


@pytest.mark.wrong_input
@pytest.mark.parametrize(
    ("kernel", "targets", "options", "message"),
    [
        (np.ones((4, 5)), ONES, {}, f"`kernel` {SHAPES} (4, 5)"),
        (ONES, ONES, {}, f"`kernel` {SHAPES} (4,)"),
        (np.ones((4, 4, 2, 3)), ONES, {}, f"`kernel` {SHAPES} (4, 4, 2, 3)"),
        (np.ones((0, 0)), ONES, {}, f"`kernel` {SHAPES} (0, 0)"),
        (SKEW, ONES, {}, "`kernel` must be symmetric. Received: entries that differ"),
        (np.diag(NAN), ONES, {}, "`kernel` must be finite. Received: 1 of 16 entries"),
        (EYE * 1j, ONES, {}, "`kernel` must be an array of real numbers. Received: d"),
        (0 * EYE, ONES, {}, "`kernel` must have a positive trace. Received: a trace"),
        (EYE, np.ones(5), {}, "`targets` must be of shape (4,) or (4, k). Received: s"),
        (EYE, np.ones((4, 0)), {}, "`targets` must be of shape (4,) or (4, k). Re"),
        (EYE, NAN, {}, "`targets` must be finite. Received: 1 of 4 entries"),
        (PER_OUTPUT, ONES, {}, "`targets` must be of shape (4, 3). Received: shape (4"),
        (FULL, np.ones((4, 2)), {}, "`targets` must be of shape (4, 3). Received"),
        (OPERATOR, np.ones(5), {}, "`targets` must be of shape (4,) or (4, k). Recei"),
        (OPERATOR, NAN, {}, "`targets` must be finite. Received: 1 of 4 entries"),
        (
            aslinearoperator(np.ones((4, 5))),
            ONES,
            {},
            "`kernel` must be square. Received: shape (4, 5)",
        ),
        (EYE, ONES, {"ridge": -1}, "`ridge` must be a finite number >= 0. Received: r"),
        (EYE, ONES, {"ridge": np.nan}, "`ridge` must be a finite number >= 0. Receive"),
        (OPERATOR, ONES, {"ridge": "a"}, "`ridge` must be a finite number >= 0. Recei"),
        (
            EYE,
            ONES,
            {"ill_conditioned": "ignore"},
            "`ill_conditioned` must be 'error' or 'warn'. Received: ill_conditioned='i",
        ),
        (
            OPERATOR,
            ONES,
            {"tolerance": 0},
            "`tolerance` must be a finite number > 0 and < 1. Received: tolerance=0",
        ),
        (
            OPERATOR,
            ONES,
            {"preconditioner": np.ones((3, 2))},
            "`preconditioner` must have a row for each example of `kernel`. Received",
        ),
        (
            EYE,
            ONES,
            {"preconditioner": np.ones((4, 2))},
            "`preconditioner` is for conjugate gradients",
        ),
        (
            KernelFactorization(EYE, 1.0),
            ONES,
            {"ridge": 2.0},
            "`ridge` must be left out with a factorisation, which has its own.",
        ),
    ],
)
def test_complexity(kernel, targets, options, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        supervision_complexity(kernel, targets, **options)


@pytest.mark.wrong_input
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: FeatureFactorization(np.ones((4, 2)), 0.0),
            "`ridge` must be a finite number > 0. Received: ridge=0.0",
        ),
        (
            lambda: FeatureFactorization(ONES, 1.0),
            "`features` must be of shape (n, dim). Received: shape (4,)",
        ),
        (
            lambda: FeatureFactorization(np.zeros((4, 2)), 1.0),
            "`features` must not be 0 everywhere.",
        ),
        (
            lambda: FeatureFactorization(np.ones((4, 2)), 1.0).solve(np.ones(3)),
            "`targets` must be of shape (4,) or (4, k). Received: shape (3,)",
        ),
        (
            lambda: soft_targets(EYE, -1),
            "`temperature` must be a finite number > 0. Received: temperature=-1",
        ),
        (
            lambda: soft_targets(EYE, 1, "labels"),
            "`kind` must be 'probabilities' or 'logits'. Received: kind='labels'",
        ),
        (
            lambda: soft_targets(NAN, 1),
            "`logits` must be finite. Received: 1 of 4 entries",
        ),
        (
            lambda: soft_targets(np.ones((2, 2, 2))),
            "`logits` must be of shape (n,) or (n, k). Received: shape (2, 2, 2)",
        ),
        (
            lambda: residual_targets(EYE, ONES),
            "`student_logits` must be of shape (4, 4). Received: shape (4,)",
        ),
        (
            lambda: margins(EYE, [0, 1, 2]),
            "`labels` must be of shape (4,), or one-hot of shape (4, 4). Received: sh",
        ),
        (
            lambda: margins(EYE, np.ones((4, 4))),
            "`labels` must be of shape (4,), or one-hot of shape (4, 4). Received: "
            "shape (4, 4) that is not one-hot",
        ),
        (
            lambda: margins(EYE, [0, 1, 1, 0], "bernoulli"),
            "`labels` must be zeros and ones of shape (4, 4) where outputs are a",
        ),
        (
            lambda: margins(EYE, EYE, "continuous"),
            "`output_kind` must be 'categorical' or 'bernoulli' for a margin: by",
        ),
        (
            lambda: predict(EYE, EYE, ONES, labels=ONES, output_kind="continuous"),
            "`output_kind` must be 'categorical' or 'bernoulli' for an accuracy: b",
        ),
        (
            lambda: soft_targets(ONES, output_kind="categorical"),
            "`output_kind='categorical'` needs an output for each class. Received: 1",
        ),
        (
            lambda: fidelity(ONES, ONES, "categorical"),
            "`output_kind='categorical'` needs an output for each class. Received: 1",
        ),
        (
            lambda: margins(EYE, [0, 1, 2, 4]),
            "`labels` must be integers from 0 to 3. Received: labels=[0 1 2 4]",
        ),
        (
            lambda: margins(ONES, [-1, 1, 1, 1]),
            "`labels` must be integers from 0 to 1. Received: labels=[-1  1]",
        ),
        (
            lambda: fidelity(EYE, ONES),
            "`student_outputs` must be of shape (4, 4). Received: shape (4,)",
        ),
        (
            lambda: kernel_alignment(EYE, np.ones(3)),
            "`other` must be of shape (4,) or (4, k). Received: shape (3,)",
        ),
        (
            lambda: kernel_alignment(EYE, PER_OUTPUT),
            "`other` must be a kernel of the shape of `kernel`, (4, 4), or targets.",
        ),
        (
            lambda: kernel_alignment(EYE, SKEW),
            "`other` must be symmetric. Received: entries that differ",
        ),
        (
            lambda: kernel_alignment(EYE, ONES),
            "`other` must not be 0 everywhere, nor constant, with center=True.",
        ),
        (
            lambda: spectrum(EYE, np.ones(3)),
            "`targets` must be of shape (4,) or (4, k). Received: shape (3,)",
        ),
        (
            lambda: predict(EYE, np.ones((2, 3)), ONES),
            "`kernel_test` must be of shape (n_test, 4). Received: shape (2, 3)",
        ),
        (
            lambda: predict(FULL, np.ones((2, 4)), np.ones((4, 3))),
            "`kernel_test` must be of shape (n_test, 4, 3, 3). Received: shape (2, 4)",
        ),
        (
            lambda: predict(EYE, EYE, ONES, labels=[0, 1]),
            "`labels` must be of shape (4,). Received: shape (2,)",
        ),
    ],
)
def test_everything_else(call, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        call()


def test_no_convergence(monkeypatch):
    monkeypatch.setattr(
        "keras_kd.complexity.solvers.conjugate_gradients._MOST_ITERATIONS", 2
    )
    kernel = aslinearoperator(np.diag([1.0, 2.0, 3.0, 4.0]))
    message = "did not reach `tolerance`=1e-06 in 2 iterations"
    with pytest.raises(RuntimeError, match=message):
        supervision_complexity(kernel, ONES)
