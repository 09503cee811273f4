"""A file of weights that others have made: what it may be, and how it is read."""

from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from keras_kd.forward.claims import check_model_file
from keras_kd.teachers.trajectory.architecture import first_difference, variable_specs

ENDINGS = (".weights.h5", ".keras")


def load_file(file: Path, model: keras.Model) -> None:
    """Assigns what a file holds to an uncompiled model's weights.

    Args:
        file: `.weights.h5`, or a whole model, `.keras`, of which no code is run.
        model: of the same variables.

    Raises:
        ValueError: it reaches outside itself, or is of another model. Keras raises
            errors of its own for what it cannot read.
    """
    if file.suffix != ".keras":
        check_self_contained(file)
        model.load_weights(file)
        return
    check_model_file(file)
    whole = keras.saving.load_model(file, compile=False, safe_mode=True)
    difference = first_difference(variable_specs(model), variable_specs(whole))
    if difference:
        raise ValueError(difference)
    for variable, source in zip(model.weights, whole.weights, strict=True):
        variable.assign(keras.ops.convert_to_numpy(source))


def check_self_contained(file: Path) -> None:
    """Refuses an HDF5 file that refers to others, or claims more than it holds.

    Raises:
        ValueError: names the part.
    """
    size = file.stat().st_size
    seen: set[Any] = set()
    with h5py.File(file, "r") as root:
        groups = [root]
        while groups:
            group = groups.pop()
            for name in group:
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    raise ValueError(f"'{group.name}/{name:.80}' is a link")
                node = group[name]
                if node.id.__hash__() in seen:
                    continue
                seen.add(node.id.__hash__())
                if isinstance(node, h5py.Group):
                    groups.append(node)
                elif node.external or node.is_virtual:
                    raise ValueError(f"'{node.name:.80}' lies in other files")
                elif node.nbytes > size:
                    raise ValueError(
                        f"'{node.name:.80}' claims {node.nbytes} bytes, more than the "
                        "file has"
                    )


def first_non_finite(model: keras.Model) -> str | None:
    """The path of the first of a model's weights with NaN or infinity, or `None`."""
    for variable in model.weights:
        if keras.backend.is_float_dtype(variable.dtype) and not bool(
            np.isfinite(keras.ops.convert_to_numpy(variable.value)).all()
        ):
            path: str = variable.path
            return path
    return None
