"""Whole runs: training a teacher, distilling a student, the demo."""

from keras_kd.experiments.demo import demo
from keras_kd.experiments.networks import NETWORKS, Network, build
from keras_kd.experiments.training import (
    METHODS,
    Method,
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
    "demo",
    "distill",
    "evaluate",
    "train_teacher",
]
