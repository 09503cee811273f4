"""Augmentation that teacher and student both see."""

import functools
from collections.abc import Mapping
from typing import Any

import keras

from keras_kd import backend
from keras_kd.forward import build_on
from keras_kd.forward.views import ROLES
from keras_kd.keras_internals import takes_training


def check_augment(augment: Any, teacher: Any) -> None:
    """Refuses what cannot augment, or has nobody who would see it.

    Raises:
        ValueError: it is no callable, has weights to train, or the teacher's
            predictions were made before.
    """
    if augment is None:
        return
    if not callable(augment) or isinstance(augment, type):
        raise ValueError(
            "`augment` must be a layer, or a callable of the inputs. Received: "
            f"augment={augment!r}"
        )
    _check_nothing_to_train(augment)
    if teacher is not None and not isinstance(teacher, keras.Model):
        raise ValueError(
            "`augment` needs a teacher that runs and sees what the student sees. "
            f"Received: augment={augment!r} with {teacher!r}, which holds what was "
            "said of other inputs. Pass the model as teacher, or build the cache from "
            "`keras_kd.datasets.Batches(augment=..., views=8)` and leave `augment` out."
        )


def _check_nothing_to_train(augment: Any) -> None:
    if getattr(augment, "trainable_variables", None):
        raise ValueError(
            "`augment` must have no weights to train: nothing trains them. Received: "
            f"'{augment.name}' with {len(augment.trainable_variables)} such variables, "
            f"'{augment.trainable_variables[0].path}' first. Freeze them "
            "(`trainable = False`)."
        )


def build_augment(augment: Any, x: Any) -> None:
    """Builds a layer that is not built yet, before the step is compiled.

    Args:
        augment: a layer; anything else has nothing to build.
        x: of `fit`, as far as it shows what a batch is.

    Raises:
        ValueError: built, it has weights to train.
    """
    if not isinstance(augment, keras.layers.Layer) or augment.built:
        return
    if hasattr(x, "element_spec") or isinstance(x, keras.utils.PyDataset):
        batch = x.element_spec if hasattr(x, "element_spec") else x[0]
        x = keras.utils.unpack_x_y_sample_weight(batch)[0]
    leaves = keras.tree.flatten(x)
    if all(hasattr(leaf, "shape") and hasattr(leaf, "dtype") for leaf in leaves):
        build_on(augment, keras.tree.map_structure(_example, x))
        _check_nothing_to_train(augment)


def _example(leaf: Any) -> Any:
    dtype = keras.backend.standardize_dtype(leaf.dtype)
    return keras.KerasTensor((None, *leaf.shape[1:]), dtype)


def augmented(distiller: Any, state: list[Any], batch: Any) -> tuple[list[Any], Any]:
    """A batch as teacher and student are to see it.

    Args:
        distiller: holds `augment`.
        state: of the step, where it is passed: what is random moves on in it.
        batch: `x`, or `(x, y, sample_weight)`.

    Raises:
        ValueError: the batch shows teacher and student different views.
    """
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
    if isinstance(x, Mapping) and set(x) == set(ROLES):
        raise ValueError(
            "`augment` is for inputs that teacher and student share. Received: "
            f"augment={distiller.augment!r} and inputs of both, {sorted(x)}. Augment "
            "the two views in the data."
        )
    augment = distiller.augment
    if isinstance(augment, keras.layers.Layer) and takes_training(augment):
        augment = functools.partial(augment, training=True)
    x, state = backend.call_with_state(distiller, augment, x, state)
    return state, keras.utils.pack_x_y_sample_weight(x, y, sample_weight)
