"""Supervision complexity: how hard a teacher's predictions are for a student."""

from keras_kd.complexity.agreement import fidelity
from keras_kd.complexity.alignment import kernel_alignment
from keras_kd.complexity.bound import distillation_bound
from keras_kd.complexity.eigenvalues import Spectrum, spectrum
from keras_kd.complexity.margin import margins
from keras_kd.complexity.margin_bound import DistillationBound, bound_terms
from keras_kd.complexity.prediction import Prediction, predict
from keras_kd.complexity.ranking.comparison import compare_teachers
from keras_kd.complexity.ranking.report import TeacherReport
from keras_kd.complexity.solvers.cholesky import KernelFactorization
from keras_kd.complexity.solvers.random_features import FeatureFactorization
from keras_kd.complexity.supervision import (
    Complexity,
    adjusted_supervision_complexity,
    supervision_complexity,
)
from keras_kd.complexity.targets import residual_targets, soft_targets

__all__ = [
    "Complexity",
    "DistillationBound",
    "FeatureFactorization",
    "KernelFactorization",
    "Prediction",
    "Spectrum",
    "TeacherReport",
    "adjusted_supervision_complexity",
    "bound_terms",
    "compare_teachers",
    "distillation_bound",
    "fidelity",
    "kernel_alignment",
    "margins",
    "predict",
    "residual_targets",
    "soft_targets",
    "spectrum",
    "supervision_complexity",
]
