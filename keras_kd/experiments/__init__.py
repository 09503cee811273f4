"""Whole runs: a teacher, a student, the demo, and studies of many students."""

from typing import TYPE_CHECKING

from keras_kd.lazy import on_demand

if TYPE_CHECKING:
    from keras_kd.experiments.demonstration import demo
    from keras_kd.experiments.evaluation import evaluate
    from keras_kd.experiments.names import MODES, Mode, Network
    from keras_kd.experiments.networks import NETWORKS, build
    from keras_kd.experiments.reports.overview import Overview
    from keras_kd.experiments.reports.report import Report
    from keras_kd.experiments.studies.cell import Architecture, Cell, Data
    from keras_kd.experiments.studies.methods import METHODS, Method
    from keras_kd.experiments.studies.recipe import Recipe
    from keras_kd.experiments.studies.recipes import RECIPES
    from keras_kd.experiments.studies.runner import run
    from keras_kd.experiments.training import cache_supervision, distill, train_teacher
else:
    # The command line knows names and recipes from here, without Keras.
    __getattr__, __dir__ = on_demand(
        __name__,
        {
            "METHODS": "studies.methods",
            "MODES": "names",
            "NETWORKS": "networks",
            "RECIPES": "studies.recipes",
            "Architecture": "studies.cell",
            "Cell": "studies.cell",
            "Data": "studies.cell",
            "Method": "studies.methods",
            "Mode": "names",
            "Network": "names",
            "Overview": "reports.overview",
            "Recipe": "studies.recipe",
            "Report": "reports.report",
            "build": "networks",
            "cache_supervision": "training",
            "demo": "demonstration",
            "distill": "training",
            "evaluate": "evaluation",
            "run": "studies.runner",
            "train_teacher": "training",
        },
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
