"""Which teacher for this student: the comparison and its report."""

from keras_kd.lazy import on_demand

__getattr__, __dir__ = on_demand(__name__)
