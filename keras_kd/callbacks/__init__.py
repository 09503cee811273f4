"""What watches a run: supervision complexity epoch by epoch."""

from keras_kd.callbacks.supervision_complexity import SupervisionComplexity

__all__ = ["SupervisionComplexity"]
