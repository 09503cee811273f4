"""Whole runs: training a teacher, distilling a student, the demo."""

from keras_kd.experiments.demo import demo
from keras_kd.experiments.networks import NETWORKS, Network, build
from keras_kd.experiments.training import (
    METHODS,
    Method,
    cache_supervision,
    distill,
    evaluate,
    train_teacher,
)

__all__ = [
    "METHODS",
    "NETWORKS",
    "Method",
    "Network",
    "build",
    "cache_supervision",
    "demo",
    "distill",
    "evaluate",
    "train_teacher",
]
