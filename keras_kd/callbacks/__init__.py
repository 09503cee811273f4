"""What watches a run, or changes its numbers: complexity, annealing."""

from keras_kd.callbacks.anneal import Anneal
from keras_kd.callbacks.supervision_complexity import SupervisionComplexity

__all__ = ["Anneal", "SupervisionComplexity"]
