"""Metrics of how well a student follows its teacher."""

from keras_kd.metrics.fidelity import Fidelity, top1_agreement

__all__ = ["Fidelity", "top1_agreement"]
