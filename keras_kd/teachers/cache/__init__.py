"""A teacher's predictions, held in files and joined to a student's batches."""

from keras_kd.teachers.cache.cached_teacher import CachedTeacher
from keras_kd.teachers.cache.joined_data import Joined
from keras_kd.teachers.cache.manifest import CachedStage
from keras_kd.teachers.cache.mean import CachedMean
from keras_kd.teachers.cache.supervision_cache import SupervisionCache

__all__ = ["CachedMean", "CachedStage", "CachedTeacher", "Joined", "SupervisionCache"]
