"""What came of studies: tables and figures."""

from keras_kd.lazy import on_demand

__getattr__, __dir__ = on_demand(__name__)
