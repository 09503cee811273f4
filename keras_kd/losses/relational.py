"""Relational knowledge distillation: distances and angles between examples."""

from typing import Any

import keras
from keras import ops

from keras_kd.arguments import check_layer_name, check_number
from keras_kd.losses.leafwise import (
    LeafwiseLoss,
    Shape,
    dimensions_agree,
    sum_over_leaves,
)


@keras.saving.register_keras_serializable(package="keras_kd")
class RelationalKD(LeafwiseLoss):
    r"""Huber distance of pairwise distances and of angles in triples of examples.

    $\lambda_D\,\mathrm{mean}_{ij}\,h(\psi_D^t - \psi_D^s) + \lambda_A\,
    \mathrm{mean}_{ijk}\,h(\psi_A^t - \psi_A^s)$ with the Huber function `h`
    ($\delta = 1$), $\psi_D(i, j) = \lVert e_i - e_j \rVert / \mu$, $\mu$ the mean
    distance of two different examples in the batch, and $\psi_A(i, j, k)$ the cosine
    of the angle at `i` from `j` to `k`. Embeddings are flattened to one vector per
    example; teacher and student may have different lengths.

    Relations belong to pairs and triples, so there is no `sample_weight`, a mask does
    not count (tap an embedding after pooling), and under `tf.distribute` a batch is
    that of one replica. Memory grows as `batch ** 2` times the length of an embedding,
    and as `batch ** 3`.

    Convention: the means are over all `n ** 2` pairs and `n ** 3` triples, those with
    an example twice included, as torchdistill's `RKDLoss(reduction="mean")`. Angles at
    coincident examples count 0 and pass no gradient.

    Args:
        distance_weight: $\lambda_D$ >= 0.
        angle_weight: $\lambda_A$ >= 0.
        teacher_layer_name: the path of the layer that gives the embeddings; `None`
            means the model's outputs.
        student_layer_name: the same for the student.

    Raises:
        ValueError: a negative weight, or something that is no name.

    Source: Park et al., "Relational Knowledge Distillation", CVPR 2019, equations 3
    to 9; the weights are those of its section 4.2.

    Example:

    >>> teacher = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], "float32")
    >>> print(round(float(RelationalKD().compute_loss(teacher, 2 * teacher)), 4))
    0.0
    """

    relates_examples = True

    def __init__(
        self,
        distance_weight: float = 25.0,
        angle_weight: float = 50.0,
        teacher_layer_name: str | None = None,
        student_layer_name: str | None = None,
    ):
        self.distance_weight = check_number(
            "distance_weight", distance_weight, at_least=0
        )
        self.angle_weight = check_number("angle_weight", angle_weight, at_least=0)
        check_layer_name("teacher_layer_name", teacher_layer_name)
        check_layer_name("student_layer_name", student_layer_name)
        self.teacher_layer_name = teacher_layer_name
        self.student_layer_name = student_layer_name

    def check_shapes(self, teacher_shape: Shape, student_shape: Shape) -> None:
        ranks = min(len(teacher_shape), len(student_shape))
        if ranks < 2 or not dimensions_agree(teacher_shape[0], student_shape[0]):
            self.refuse_shapes(
                "with one embedding per example of the same batch",
                teacher_shape,
                student_shape,
            )

    def compute_loss(
        self, teacher_outputs: Any, student_outputs: Any, **kwargs: Any
    ) -> Any:
        """The loss of one batch.

        Args:
            teacher_outputs: embeddings `(batch, ...)`, or a structure of such.
            student_outputs: embeddings; all but the batch may differ.

        Returns:
            Scalar.

        Raises:
            ValueError: `sample_weight` is given.
        """
        self.refuse_weights(kwargs)
        return sum_over_leaves(self._leaf_loss, teacher_outputs, student_outputs)

    def _leaf_loss(self, teacher: Any, student: Any, outputs: Any) -> Any:
        teacher_distances, teacher_directions = _relations(teacher)
        student_distances, student_directions = _relations(student)
        loss = ops.zeros((), dtype=student.dtype)
        if self.distance_weight:
            loss = loss + self.distance_weight * _mean_huber(
                _relative(teacher_distances), _relative(student_distances)
            )
        if self.angle_weight:
            loss = loss + self.angle_weight * _mean_huber(
                _cosines(teacher_directions), _cosines(student_directions)
            )
        return loss

    def get_config(self) -> dict[str, Any]:
        return {
            "distance_weight": self.distance_weight,
            "angle_weight": self.angle_weight,
            "teacher_layer_name": self.teacher_layer_name,
            "student_layer_name": self.student_layer_name,
        }


def _relations(embeddings: Any) -> tuple[Any, Any]:
    """Distances `(n, n)` and unit vectors `(n, n, d)` from each example to each."""
    e = ops.reshape(embeddings, (ops.shape(embeddings)[0], -1))
    # Differences, not a Gram matrix: that is cheaper, but leaves only rounding noise
    # of examples that are close.
    differences = e[None, :, :] - e[:, None, :]
    squared = ops.sum(ops.square(differences), axis=-1)
    apart = squared > 0
    safe = ops.sqrt(ops.where(apart, squared, 1.0))
    return ops.where(apart, safe, 0.0), differences / safe[..., None]


def _relative(distances: Any) -> Any:
    """Distances in units of their mean over pairs of different examples."""
    n = ops.cast(ops.shape(distances)[0], distances.dtype)
    mean = ops.sum(distances) / ops.maximum(n * (n - 1), 1.0)
    return distances / ops.where(mean > 0, mean, 1.0)


def _cosines(directions: Any) -> Any:
    return ops.matmul(directions, ops.transpose(directions, (0, 2, 1)))


def _mean_huber(teacher: Any, student: Any) -> Any:
    return ops.mean(keras.losses.huber(teacher, student, delta=1.0))
