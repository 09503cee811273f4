"""A student, a teacher and distillation losses as one `keras.Model`."""

from keras_kd.distiller.distiller import Distiller
from keras_kd.distiller.supervisor import Supervisor

__all__ = ["Distiller", "Supervisor"]
