"""`tf.data`, which feeds TensorFlow and may feed the others too."""

import keras
import numpy as np
import tensorflow as tf


def join(dataset, teacher, training):
    """Batches joined by what a cached teacher says of them, one batch ahead.

    Args:
        dataset: of batches `x`, `(x,)`, `(x, y)` or `(x, y, sample_weight)`.
        teacher: `keras_kd.teachers.cache.CachedTeacher`.
        training: as in its `checkpoints`.

    Returns:
        A `tf.data.Dataset` of batches whose inputs are what `teacher.joined` makes
        of them.

    Raises:
        ValueError: the dataset was distributed already.
    """
    if not isinstance(dataset, tf.data.Dataset):
        raise ValueError(
            "A cached teacher needs a `tf.data.Dataset` that is not distributed yet: "
            f"`fit` does that. Received: {type(dataset).__name__}"
        )

    # The function is called when an iterator begins, which then knows of its epoch.
    checkpoints = tf.data.Dataset.from_generator(
        lambda: teacher.checkpoints(training),
        output_signature=tf.TensorSpec((), tf.int64),
    )
    spec = teacher.teacher.spec
    paths = list(teacher.layers)
    shapes = [*spec.logits, *(spec.taps[path] for path in paths)]

    def joined(checkpoint, *batch):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(
            batch if len(batch) > 1 else batch[0]
        )
        leaves = tf.nest.flatten(x)
        labels = [y] if tf.is_tensor(y) and teacher.teacher.has_labels else []

        def look_up(index, *arrays):
            inputs = arrays[: len(leaves)]
            given = arrays[len(leaves)] if labels else None
            logits, taps = teacher.join(list(inputs), given, int(index))
            return [np.float32(a) for a in (*logits, *(taps[p] for p in paths))]

        found = tf.numpy_function(
            look_up,
            [checkpoint, *leaves, *labels],
            [tf.float32] * len(shapes),
            # Or batches would be looked up side by side, in no order: the first ones'
            # labels are compared as they come.
            stateful=True,
        )
        for tensor, shape in zip(found, shapes, strict=True):
            tensor.set_shape((leaves[0].shape[0], *shape))
        logits = tuple(found[: len(spec.logits)])
        taps = dict(zip(paths, found[len(spec.logits) :], strict=True))
        return keras.utils.pack_x_y_sample_weight(
            teacher.joined(x, logits, taps), y, sample_weight
        )

    return (
        tf.data.Dataset.zip(checkpoints, dataset).map(joined).prefetch(tf.data.AUTOTUNE)
    )
