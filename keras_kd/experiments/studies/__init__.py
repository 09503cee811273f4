"""Studies of many students: recipes, and what runs them."""

from keras_kd.lazy import on_demand

__getattr__, __dir__ = on_demand(__name__)
