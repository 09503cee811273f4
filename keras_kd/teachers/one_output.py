"""One output of a teacher that has several: auxiliary heads, features, scores."""

from collections.abc import Mapping
from typing import Any

import keras

from keras_kd.arguments import check_instance, is_integer, shown
from keras_kd.forward import input_spec, output_spec
from keras_kd.outputs import output_names


def output_of(teacher: keras.Model, which: str | int) -> keras.Model:
    """A teacher that gives one of several outputs, where the others do not teach.

    Args:
        teacher: a built `keras.Model` with several outputs. It is not copied: all its
            weights are there, and its layers are tapped as
            `"<name of the teacher>/<path>"`.
        which: the name of an output (a key, where it gives a dict; the name of the
            layer that gives it, in a functional model) or its index.

    Returns:
        A model, for `Distiller`, `SupervisionCache.build`, `compare_teachers` and
        `mean`. It is not compiled: if its last layer does not tell what the output
        means, say `output_kind=`.

    Raises:
        ValueError: `teacher` is no built model, or has no such output.

    Example:

    >>> from keras_kd.teachers import output_of
    >>> x = keras.Input((4,))
    >>> heads = [keras.layers.Dense(3, name=name)(x) for name in ("logits", "aux")]
    >>> teacher = keras.Model(x, heads)
    >>> print(output_of(teacher, "logits").predict(np.ones((2, 4)), verbose=0).shape)
    (2, 3)
    """
    check_instance("teacher", teacher, keras.Model, "a built `keras.Model`")
    if not teacher.built:
        raise ValueError(
            "`teacher` must be built. Received: teacher "
            f"'{teacher.name}', not built. Call it once on a batch, or load it."
        )
    if not isinstance(which, str) and not is_integer(which):
        raise ValueError(
            "`which` must be the name of an output or its index. Received: "
            f"which={shown(which)}"
        )
    which = which if isinstance(which, str) else int(which)
    name = f"{teacher.name}_{which}".replace("/", "_")
    inputs, outputs = input_spec(teacher), output_spec(teacher)
    if inputs is None or outputs is None:
        return OneOutput(teacher, which, name=name)  # it is looked for when it runs
    _chosen(teacher, outputs, which)
    return keras.Model(inputs, _chosen(teacher, teacher(inputs), which), name=name)


@keras.saving.register_keras_serializable(package="keras_kd")
class OneOutput(keras.Model):
    """One output of a model that says only when it runs what it gives. See `output_of`.

    Args:
        teacher: a built model.
        which: the name of an output or its index.
        name: the model's name.
    """

    def __init__(
        self,
        teacher: keras.Model,
        which: str | int,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        # Inputs reach the teacher as they are; it casts for itself.
        super().__init__(name=name, autocast=False, **kwargs)
        self.teacher = teacher
        self.which = which
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """The chosen output."""
        return _chosen(
            self.teacher, self.teacher(inputs, training=training), self.which
        )

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "teacher": keras.saving.serialize_keras_object(self.teacher),
            "which": self.which,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "OneOutput":
        teacher = keras.saving.deserialize_keras_object(config["teacher"])
        return cls(**{**config, "teacher": teacher})


def _chosen(teacher: keras.Model, outputs: Any, which: str | int) -> Any:
    leaves = keras.tree.flatten(outputs)
    names = output_names(teacher, outputs)
    if isinstance(which, str) and isinstance(outputs, Mapping) and which in outputs:
        return outputs[which]
    if isinstance(which, str) and which in names:
        return leaves[names.index(which)]
    if isinstance(which, int) and -len(leaves) <= which < len(leaves):
        return leaves[which]
    raise ValueError(
        f"`which` must be one of the {len(leaves)} outputs of '{teacher.name}', "
        f"{names}, or an index. Received: which={which!r}"
    )
