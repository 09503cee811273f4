"""DIST: relations within and between classes, up to scale and shift."""

from typing import Any, NamedTuple

import keras
from keras import ops

from keras_kd.arguments import check_number, check_temperature
from keras_kd.losses.leafwise import LeafwiseLoss, check_classes, sum_over_leaves
from keras_kd.losses.reduction import weighted_mean
from keras_kd.outputs import class_logits, valid_positions
from keras_kd.outputs.softened import without_banned

# What varies by less than this, relative to its size, is constant up to rounding.
_CONSTANT = 1e-6
_LOWEST = -1e30


@keras.saving.register_keras_serializable(package="keras_kd")
class DIST(LeafwiseLoss):
    r"""Pearson distances, $\tau^2 (\beta\,d_{inter} + \gamma\,d_{intra})$.

    For class probabilities at temperature $\tau$, `d_inter` is the mean over examples
    of one minus the correlation of the teacher's and the student's row, `d_intra` the
    mean over classes of one minus that of their columns over the batch. Further
    positions, as of a sequence, count as examples. A single output unit counts as the
    two classes `[0, z]`.

    The columns relate all examples of a batch, so there is no `sample_weight`, and
    under `tf.distribute` a batch is that of one replica. Of a batch of one example
    `d_intra` is 1.

    It is exact at every temperature. A logit below -1e9 counts as -1e9.

    Convention: as torchdistill's `DISTLoss`. A row or column that is constant up to
    rounding has no correlation: it counts 1 and passes no gradient, where torchdistill
    passes one of the order of `1e8`.

    Args:
        beta: weight >= 0 of the relation between classes.
        gamma: weight >= 0 of the relation within classes.
        temperature: `tau` in [1e-6, 1e6].

    Raises:
        ValueError: an argument is out of its range; or, when called, an output does
            not tell classes apart.

    Source: Huang et al., "Knowledge Distillation from A Stronger Teacher", NeurIPS
    2022, equation 9.

    Example:

    >>> teacher = np.array([[2.0, 0.0], [0.0, 1.0]], "float32")
    >>> print(abs(round(float(DIST().compute_loss(teacher, teacher)), 4)))
    0.0
    """

    of_classes = True
    relates_examples = True

    def __init__(self, beta: float = 1.0, gamma: float = 1.0, temperature: float = 1.0):
        self.beta = check_number("beta", beta, at_least=0)
        self.gamma = check_number("gamma", gamma, at_least=0)
        self.temperature = check_temperature("temperature", temperature)

    def compute_loss(
        self,
        teacher_outputs: Any,
        student_outputs: Any,
        output_kind: Any = None,
        **kwargs: Any,
    ) -> Any:
        """The loss of one batch.

        Args:
            teacher_outputs: logits `(batch, ..., classes)`, or a structure of such.
            student_outputs: logits of the same shape.
            output_kind: what the outputs are, one for all or a structure of names;
                `None` for classes.

        Returns:
            Scalar.

        Raises:
            ValueError: an output does not tell classes apart, or `sample_weight` is
                given.
        """
        self.refuse_weights(kwargs)
        return sum_over_leaves(
            self._leaf_loss, teacher_outputs, student_outputs, output_kind=output_kind
        )

    def _leaf_loss(
        self, teacher: Any, student: Any, outputs: Any, output_kind: str | None
    ) -> Any:
        check_classes(self, output_kind, student.shape[-1])
        teacher, student = (self._softened(z) for z in (teacher, student))
        valid = ops.reshape(valid_positions(outputs, student.dtype), (-1,))
        rows = _distances(_in_rows(teacher), _in_rows(student), ops.ones_like(student))
        inter = weighted_mean(rows, valid)
        of_teacher, of_student = (_in_columns(z, valid) for z in (teacher, student))
        intra = ops.mean(_distances(of_teacher, of_student, valid[None, :]))
        return self.temperature**2 * (self.beta * inter + self.gamma * intra)

    def _softened(self, logits: Any) -> Any:
        logits = without_banned(class_logits(logits))
        return ops.reshape(logits / self.temperature, (-1, logits.shape[-1]))

    def get_config(self) -> dict[str, Any]:
        return {
            "beta": self.beta,
            "gamma": self.gamma,
            "temperature": self.temperature,
        }


class _Vectors(NamedTuple):
    """Probabilities up to a shift and scale of each row, of which none comes to count.

    Attributes:
        values: tensor `(rows, n)`. Not the probabilities themselves, which at a high
            temperature differ in their last digits only.
        size: of what their rounding is a part, tensor `(rows, n)`.
    """

    values: Any
    size: Any


def _in_rows(z: Any) -> _Vectors:
    """Those of examples, `(examples, classes)`, from logits over the temperature."""
    return _Vectors(ops.expm1(_below_highest(z)), _size(z))


def _in_columns(z: Any, valid: Any) -> _Vectors:
    """Those of classes, `(classes, examples)`, from logits over the temperature."""
    below = _below_highest(z)
    mean = ops.mean(ops.expm1(below), axis=-1, keepdims=True)
    # The logarithm of the probabilities times their number: near 0, not near -log(k).
    logs = ops.transpose(below - ops.log1p(mean))
    counts = valid[None, :] > 0
    highest = ops.max(ops.where(counts, logs, _LOWEST), axis=-1, keepdims=True)
    below = ops.where(counts, logs - ops.stop_gradient(highest), 0.0)
    return _Vectors(ops.expm1(below), ops.transpose(_size(z)))


def _below_highest(z: Any) -> Any:
    return z - ops.stop_gradient(ops.max(z, axis=-1, keepdims=True))


def _size(z: Any) -> Any:
    return ops.stop_gradient(ops.minimum(ops.abs(z), 1.0))


def _distances(x: _Vectors, y: _Vectors, weights: Any) -> Any:
    r"""One minus Pearson's correlation over the last axis, 1 where a side is constant.

    It is $\lVert \hat x - \hat y \rVert^2 / 2$ of centred unit vectors, which does not
    cancel where they are close.

    Args:
        x: `(rows, n)`.
        y: `(rows, n)`.
        weights: zeros and ones that broadcast against both: the entries that count.
    """
    count = ops.maximum(ops.sum(weights, axis=-1, keepdims=True), 1.0)

    def unit(vectors: _Vectors) -> tuple[Any, Any]:
        z = weights * vectors.values
        centred = weights * (z - ops.sum(z, axis=-1, keepdims=True) / count)
        variation = ops.sum(ops.square(centred), axis=-1, keepdims=True)
        size = ops.sum(ops.square(weights * vectors.size), axis=-1, keepdims=True)
        varies = variation > _CONSTANT**2 * size
        # The inner `where` keeps the gradient of what the outer one leaves out finite.
        return centred * ops.rsqrt(ops.where(varies, variation, 1.0)), varies

    (x_unit, x_varies), (y_unit, y_varies) = unit(x), unit(y)
    varies = ops.logical_and(x_varies, y_varies)[..., 0]
    return ops.where(varies, ops.sum(ops.square(x_unit - y_unit), axis=-1) / 2.0, 1.0)
