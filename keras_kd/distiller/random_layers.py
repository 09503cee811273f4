"""Students that augment inside, where their teacher sees other inputs."""

import warnings

import keras

from keras_kd.keras_internals import flatten_layers

_RANDOM = {"AugMix", "CutMix", "MixUp", "RandAugment", "Solarization"}


def warn_of_random_layers(student: keras.Model, runs: bool) -> None:
    """Warns of a student that augments inside, where the teacher does not see it.

    Args:
        student: in whose layers it may be.
        runs: whether the teacher does, or its predictions were made before.
    """
    random = [layer for layer in flatten_layers(student) if _augments(layer)]
    # One that consists of others is one.
    inner = {id(part) for layer in random for part in flatten_layers(layer)[1:]}
    names = [layer.name for layer in random if id(layer) not in inner]
    if names:
        way_out = "pass `Distiller(..., augment=layer)`, which feeds both, or augment"
        if not runs:
            way_out = (
                "build the cache from `keras_kd.datasets.Batches(augment=..., "
                "views=8)`, which holds both views, or augment"
            )
        warnings.warn(
            f"Student '{student.name}' augments its inputs itself, in layer "
            f"'{names[0]}'"
            + (f" and {len(names) - 1} more" if names[1:] else "")
            + ": in training teacher and student see different inputs. Take it out and "
            f"{way_out} in the data.",
            stacklevel=3,
        )


def _augments(layer: keras.layers.Layer) -> bool:
    """Whether it is one of Keras's random changes of inputs, or a subclass of one.

    Dropout and noise, which regularise what is inside, are none.
    """
    return any(
        kind.__module__.startswith(("keras.", "keras_cv."))
        and (kind.__name__.startswith("Random") or kind.__name__ in _RANDOM)
        for kind in type(layer).__mro__
    )
