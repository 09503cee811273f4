"""Label smoothing, the teacher-free baseline of distillation."""

from typing import Any

import keras
from keras import ops

from keras_kd.arguments import check_number
from keras_kd.written import as_written


@keras.saving.register_keras_serializable(package="keras_kd")
class LabelSmoothingCrossentropy(keras.losses.Loss):
    r"""Cross-entropy with smoothed integer labels, $(1 - \epsilon) e_y + \epsilon / k$.

    What `keras.losses.CategoricalCrossentropy(label_smoothing=...)` is for one-hot
    labels, for class indices. It is distillation from a teacher that knows the label
    and holds all other classes alike.

    Args:
        label_smoothing: `epsilon` in [0, 1).
        from_logits: whether the model gives logits, else probabilities.
        reduction: as in `keras.losses.Loss`.
        name: the loss's name.
        dtype: of the computation, as in `keras.losses.Loss`.

    Raises:
        ValueError: `label_smoothing` is out of its range, or, when called, the outputs
            have a single unit.

    Source: Szegedy et al., "Rethinking the Inception Architecture", CVPR 2016,
    section 7.

    Example:

    >>> loss = LabelSmoothingCrossentropy(label_smoothing=0.1)
    >>> print(round(float(loss(np.array([1]), np.array([[0.0, 2.0]], "float32"))), 4))
    0.2269
    """

    # What it says of the outputs of a model that is compiled with it.
    output_kind = "categorical"

    def __init__(
        self,
        label_smoothing: float = 0.1,
        from_logits: bool = True,
        reduction: str | None = "sum_over_batch_size",
        name: str = "label_smoothing_crossentropy",
        dtype: Any = None,
    ):
        self.label_smoothing = check_number(
            "label_smoothing", label_smoothing, at_least=0, below=1
        )
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.from_logits = from_logits

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each example.

        Args:
            y_true: class indices `(batch, ...)` or `(batch, ..., 1)`.
            y_pred: logits or probabilities `(batch, ..., classes)`.

        Returns:
            Tensor `(batch, ...)`; NaN where a label is no class, as in Keras.
        """
        classes = y_pred.shape[-1]
        if classes == 1:
            raise ValueError(
                "LabelSmoothingCrossentropy needs one output per class. Received: "
                f"y_pred of shape {tuple(y_pred.shape)}. For one unit use "
                "`keras.losses.BinaryCrossentropy(label_smoothing=...)`."
            )
        if len(y_true.shape) == len(y_pred.shape) and y_true.shape[-1] == 1:
            y_true = ops.squeeze(y_true, -1)
        if len(y_true.shape) != len(y_pred.shape) - 1:
            raise ValueError(
                "`y_true` must hold class indices. Received: y_true of shape "
                f"{tuple(y_true.shape)} for y_pred of shape {tuple(y_pred.shape)}. "
                "For one-hot labels use "
                "`keras.losses.CategoricalCrossentropy(label_smoothing=...)`."
            )
        labels = ops.cast(y_true, "int32")
        known = ops.logical_and(labels >= 0, labels < classes)
        values = keras.losses.categorical_crossentropy(
            ops.one_hot(ops.where(known, labels, 0), classes, dtype=y_pred.dtype),
            y_pred,
            from_logits=self.from_logits,
            label_smoothing=self.label_smoothing,
        )
        return ops.where(known, values, float("nan"))

    __repr__ = as_written

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "label_smoothing": self.label_smoothing,
            "from_logits": self.from_logits,
        }
