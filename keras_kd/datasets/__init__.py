"""One door to image data: `load` gives NumPy arrays, `Batches` feeds them to `fit`."""

from keras_kd.datasets.batches import Batches
from keras_kd.datasets.dataset import Dataset
from keras_kd.datasets.label_noise import wrong_labels
from keras_kd.datasets.loading import load
from keras_kd.lazy import on_demand

__getattr__, __dir__ = on_demand(__name__)

__all__ = ["Batches", "Dataset", "load", "wrong_labels"]
