"""A student, a teacher and distillation losses as one `keras.Model`."""

from keras_kd.distiller.distiller import Distiller

__all__ = ["Distiller"]
