"""The empirical neural tangent kernel of any Keras model."""

from keras_kd.ntk.cost import Plan, plan
from keras_kd.ntk.diagonal import ntk_diagonal
from keras_kd.ntk.features import ntk_features
from keras_kd.ntk.kernel import empirical_ntk
from keras_kd.ntk.operator import NTKOperator
from keras_kd.ntk.similarity import Similarity, ntk_similarity

__all__ = [
    "NTKOperator",
    "Plan",
    "Similarity",
    "empirical_ntk",
    "ntk_diagonal",
    "ntk_features",
    "ntk_similarity",
    "plan",
]
