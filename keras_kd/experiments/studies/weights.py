"""The weights of a study's networks, in files that are known to be whole."""

from pathlib import Path

import keras

from keras_kd.experiments.studies.seals import check_sealed, damaged, write_sealed
from keras_kd.files import replacing
from keras_kd.keras_internals import weights_file

_WAY_OUT = "Delete it: the network is trained again."


def save_weights(model: keras.Model, file: Path) -> None:
    """Writes them, on the disk when this returns."""

    def write() -> None:
        with replacing(file) as part:
            part.write_bytes(weights_file(model))

    write_sealed(file, write)


def load_weights(model: keras.Model, file: Path) -> None:
    """Reads them.

    Raises:
        ValueError: the file is damaged: the message names it, and the way out.
    """
    check_sealed(file, _WAY_OUT)
    try:
        model.load_weights(file)
    except (ValueError, OSError, KeyError) as error:
        raise damaged(file, str(error), _WAY_OUT) from error
