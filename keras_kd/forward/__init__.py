"""One ordinary forward pass, and what can be read from it."""

from keras_kd.lazy import on_demand

__getattr__, __dir__ = on_demand(__name__)
