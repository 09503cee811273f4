"""Whether a teacher's weights are fit to teach."""

import keras


def check_finite_weights(model: keras.Model, name: str) -> None:
    """Refuses a teacher with NaN or infinite weights.

    Its outputs need not show them: a ReLU may make 0 of NaN, as in TensorFlow's
    compiled functions on some processors.

    Args:
        model: the teacher.
        name: what messages call it.

    Raises:
        ValueError: names the first such variable.
    """
    for variable in model.weights:
        if not keras.backend.is_float_dtype(variable.dtype):
            continue
        if not bool(keras.ops.all(keras.ops.isfinite(variable.value))):
            raise ValueError(
                f"The teacher's weights must be finite. Received: teacher '{name}' "
                f"with NaN or infinite values in '{variable.path}'."
            )
