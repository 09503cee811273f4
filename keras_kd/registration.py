"""All classes that Keras finds by name in a file of ours.

Importing them registers them: what loads a `.keras` file imports this first.
"""

from keras_kd import distiller, losses, metrics, models, teachers

__all__ = ["distiller", "losses", "metrics", "models", "teachers"]
