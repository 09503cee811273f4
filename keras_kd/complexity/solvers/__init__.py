"""Solvers of a kernel's linear systems, one a file, with one contract."""

from keras_kd.lazy import on_demand

__getattr__, __dir__ = on_demand(__name__)
