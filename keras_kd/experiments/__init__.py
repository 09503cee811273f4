"""Whole runs: a teacher, a student, the demo, and studies of many students."""

from keras_kd.experiments.demonstration import demo
from keras_kd.experiments.networks import NETWORKS, Network, build
from keras_kd.experiments.reports.overview import Overview
from keras_kd.experiments.reports.report import Report
from keras_kd.experiments.studies.methods import METHODS, Method
from keras_kd.experiments.studies.recipe import Architecture, Cell, Data, Recipe
from keras_kd.experiments.studies.recipes import RECIPES
from keras_kd.experiments.studies.runner import run
from keras_kd.experiments.training import (
    MODES,
    Mode,
    cache_supervision,
    distill,
    evaluate,
    train_teacher,
)

__all__ = [
    "METHODS",
    "MODES",
    "NETWORKS",
    "RECIPES",
    "Architecture",
    "Cell",
    "Data",
    "Method",
    "Mode",
    "Network",
    "Overview",
    "Recipe",
    "Report",
    "build",
    "cache_supervision",
    "demo",
    "distill",
    "evaluate",
    "run",
    "train_teacher",
]
