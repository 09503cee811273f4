"""The mean of several teachers, as one supervision."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import keras
from keras import ops

from keras_kd.teachers.cache import CachedMean, SupervisionCache
from keras_kd.teachers.cache.mean import KINDS
from keras_kd.teachers.trajectory.reader import TeacherTrajectory


def mean(
    teachers: TeacherTrajectory | Sequence[Any],
    of: Literal["logits", "probabilities"] = "logits",
):
    """The mean of an ensemble, or of a trajectory's checkpoints, as a teacher.

    Args:
        teachers: built `keras.Model`s that give logits, a `TeacherTrajectory` (of whose
            checkpoints each becomes a model in memory), or `SupervisionCache`s, of
            each of which the last stage counts. For several stages of one cache see
            `SupervisionCache.mean`.
        of: whether logits are averaged (a geometric mean of probabilities, at every
            temperature) or probabilities at temperature 1.

    Returns:
        A teacher for `Distiller`: a `MeanTeacher`, or of caches a cached one.

    Raises:
        ValueError: no teachers, some that are not built, or both kinds.

    Example:

    >>> def network():
    ...     return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    >>> one, other = network(), network()
    >>> x = np.ones((2, 4))
    >>> both = mean([one, other]).predict(x, verbose=0)
    >>> expected = (one.predict(x, verbose=0) + other.predict(x, verbose=0)) / 2
    >>> print(np.allclose(both, expected, atol=1e-6))
    True

    Source: Hinton, Vinyals & Dean, "Distilling the Knowledge in a Neural Network",
    2015, section 2 (arithmetic or geometric mean of an ensemble).
    """
    if isinstance(teachers, TeacherTrajectory):
        teachers = [teachers.load(i) for i in range(len(teachers))]
    teachers = list(teachers)
    if teachers and all(isinstance(t, SupervisionCache) for t in teachers):
        return CachedMean([(cache, cache[-1].index) for cache in teachers], of)
    return MeanTeacher(teachers, of)


@keras.saving.register_keras_serializable(package="keras_kd")
class MeanTeacher(keras.Model):
    """A model that gives the mean of several models' logits. See `mean`.

    Args:
        teachers: built models, of the same outputs.
        of: `"logits"` or `"probabilities"`.
        name: the model's name.

    Raises:
        ValueError: no teachers, or something that is no built model.
    """

    def __init__(self, teachers, of="logits", name="mean_teacher", **kwargs):
        if not teachers or not all(
            isinstance(t, keras.Model) and t.built for t in teachers
        ):
            raise ValueError(
                "`teachers` must be built `keras.Model`s, or caches, at least one. "
                f"Received: teachers={teachers}"
            )
        if of not in KINDS:
            raise ValueError(f"`of` must be one of {list(KINDS)}. Received: of={of!r}")
        super().__init__(name=name, **kwargs)
        self.teachers = list(teachers)
        self.of = of
        self.built = True

    def call(self, inputs):
        outputs = [teacher(inputs) for teacher in self.teachers]
        return keras.tree.map_structure(self._mean, *outputs)

    def _mean(self, *logits):
        stacked = ops.stack([ops.cast(z, "float32") for z in logits])
        if self.of == "logits":
            return ops.mean(stacked, axis=0)
        if stacked.shape[-1] == 1:
            # Both of Bernoulli's probabilities, in logarithms.
            yes, no = (-ops.softplus(sign * stacked) for sign in (-1.0, 1.0))
            return ops.logsumexp(yes, axis=0) - ops.logsumexp(no, axis=0)
        log_p = ops.log_softmax(stacked, axis=-1)
        return ops.logsumexp(log_p, axis=0) - math.log(len(logits))

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "teachers": [serialize(teacher) for teacher in self.teachers],
            "of": self.of,
        }

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        deserialize = keras.saving.deserialize_keras_object
        config["teachers"] = [deserialize(teacher) for teacher in config["teachers"]]
        return cls(**config)
