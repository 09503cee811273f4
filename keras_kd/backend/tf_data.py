"""`tf.data`, which feeds TensorFlow and may feed the others too."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf


def join(
    dataset: Any,
    numbers: Callable[[], Iterator[int]],
    look_up: Callable[[list[np.ndarray], np.ndarray | None, int], Sequence[np.ndarray]],
    shapes: Sequence[tuple[int, ...]],
    joined: Callable[[Any, list[Any]], Any],
    with_labels: bool,
    view: Callable[[Any], Any],
) -> Any:
    """Batches joined by what is found for them, one batch ahead.

    Args:
        dataset: of batches `x`, `(x,)`, `(x, y)` or `(x, y, sample_weight)`.
        numbers: begins, with each pass over the data, the numbers that go with its
            batches.
        look_up: `look_up(inputs, labels, number)` gives the arrays found for a batch:
            for its flattened inputs, its labels (or `None`) and its number.
        shapes: of each of these arrays, without the axis of examples.
        joined: `joined(x, found)`, the inputs of the batch with the tensors found.
        with_labels: whether `look_up` wants labels where they are one tensor.
        view: gives the inputs that are looked up, of all inputs `x`.

    Returns:
        A `tf.data.Dataset` of batches whose inputs are what `joined` makes of them.

    Raises:
        ValueError: the dataset was distributed already.
    """
    if not isinstance(dataset, tf.data.Dataset):
        raise ValueError(
            "A cached teacher needs a `tf.data.Dataset` that is not distributed yet: "
            f"`fit` does that. Received: {type(dataset).__name__}"
        )
    # The function is called when an iterator begins, which then knows of its epoch.
    numbered = tf.data.Dataset.from_generator(
        numbers, output_signature=tf.TensorSpec((), tf.int64)
    )

    def with_found(number: Any, *batch: Any) -> Any:
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(
            batch if len(batch) > 1 else batch[0]
        )
        leaves = tf.nest.flatten(view(x))
        labels = [y] if tf.is_tensor(y) and with_labels else []

        def found_for(number: Any, *arrays: Any) -> list[np.ndarray]:
            inputs = list(arrays[: len(leaves)])
            given = arrays[len(leaves)] if labels else None
            arrays_found = look_up(inputs, given, int(number))
            return [np.asarray(array, np.float32) for array in arrays_found]

        found = tf.numpy_function(
            found_for,
            [number, *leaves, *labels],
            [tf.float32] * len(shapes),
            # Or batches would be looked up side by side, in no order: the first ones'
            # labels are compared as they come.
            stateful=True,
        )
        for tensor, shape in zip(found, shapes, strict=True):
            tensor.set_shape((leaves[0].shape[0], *shape))
        return keras.utils.pack_x_y_sample_weight(
            joined(x, list(found)), y, sample_weight
        )

    batches = tf.data.Dataset.zip(numbered, dataset).map(with_found)
    return batches.prefetch(tf.data.AUTOTUNE)
