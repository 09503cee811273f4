"""Snapshot: one file from which a killed run goes on as if nothing had happened."""

import json
import time
import zipfile
import zlib
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_kd.backend import random_state, set_random_state
from keras_kd.files import replacing


class Snapshot(keras.callbacks.Callback):
    """Keeps all that a training needs to go on, replaced as a whole after each epoch.

    The file holds the model's variables and the backend's own random state, the
    optimizer's variables, the epoch logs, and the time spent. What else a run of `fit`
    depends on must be a function of the epoch: the order of
    `keras_kd.datasets.Batches`, the checkpoint of `keras_kd.OnlineTeacher`, the
    trajectory that `keras_kd.TrajectoryRecorder` goes on writing. A crash at any moment
    leaves the old file or the new one.

    List it last: it keeps the logs as the callbacks before it have left them.

    Args:
        file: where, an `.npz`.

    Attributes:
        history: the epoch logs of all epochs so far, a list per key.
        seconds: the time they took, interruptions left out.
    """

    def __init__(self, file: str | Path) -> None:
        super().__init__()
        self.file = Path(file)
        self.history: dict[str, list[float]] = {}
        self.seconds = 0.0
        self._last = 0.0
        self._random_state: np.ndarray | None = None

    def restore(self, model: keras.Model) -> int:
        """Puts a compiled model into the state of the file, if there is one.

        Returns:
            The epoch to go on with, 0 if there is no file.

        Raises:
            ValueError: the file is another model's, or damaged.
        """
        self.history, self.seconds = {}, 0.0
        if not self.file.exists():
            return 0
        values, state = self._read()
        random = values.pop("random_state")
        variables = _variables(model)
        shapes = {name: tuple(v.shape) for name, v in variables.items()}
        held = {name: value.shape for name, value in values.items()}
        if shapes != held:
            differing = sorted(
                name
                for name in shapes.keys() | held.keys()
                if shapes.get(name) != held.get(name)
            )
            raise ValueError(
                f"The snapshot {self.file} must be of the same model. Received: model "
                f"'{model.name}', whose {differing[0]} is "
                f"{shapes.get(differing[0])}, and {held.get(differing[0])} there."
            )
        for name, variable in variables.items():
            variable.assign(values[name])
        self._random_state = random
        self.history, self.seconds = state["history"], state["seconds"]
        epoch: int = state["epoch"]
        return epoch

    def _read(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        try:
            with np.load(self.file) as arrays:
                values = {name: arrays[name] for name in arrays.files}
            state = json.loads(str(values.pop("state")))
            for key in ("epoch", "history", "seconds"):
                state[key]
            values["random_state"]
        except (
            *(ValueError, KeyError, TypeError, AttributeError, EOFError, OSError),
            *(zipfile.BadZipFile, zlib.error, NotImplementedError, RecursionError),
        ) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ValueError(
                f"The snapshot '{self.file}' is damaged: {reason}. Delete it: the "
                "training begins anew."
            ) from error
        return values, state

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._last = time.perf_counter()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        # Not before: `fit` draws numbers while it looks at the model.
        if self._random_state is not None:
            set_random_state(self._random_state)
            self._random_state = None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        now = time.perf_counter()
        self.seconds += now - self._last
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(float(value))
        self._write(epoch + 1)
        self._last = time.perf_counter()

    def _write(self, epoch: int) -> None:
        values: dict[str, Any] = {
            name: keras.ops.convert_to_numpy(variable)
            for name, variable in _variables(self.model).items()
        }
        values["random_state"] = random_state()
        values["state"] = json.dumps(
            {"epoch": epoch, "history": self.history, "seconds": self.seconds}
        )
        with replacing(self.file) as part, part.open("wb") as file:
            np.savez(file, **values)


def _variables(model: keras.Model) -> dict[str, keras.Variable]:
    model.optimizer.build(model.trainable_variables)
    return {
        f"{kind}-{i}": variable
        for kind, variables in (
            ("model", model.variables),
            ("optimizer", model.optimizer.variables),
        )
        for i, variable in enumerate(variables)
    }
