"""Shuffled, augmented batches for `fit`, repeatable and prepared ahead."""

import contextlib
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import keras
import numpy as np

from keras_kd.arguments import check_examples, check_integer, is_integer
from keras_kd.datasets.keras_cv import give_own_generators, reset_generator
from keras_kd.keras_internals import is_seed_state, takes_training

# Images augmented at a time, where whole views are.
_GROUP = 256


class Batches(keras.utils.PyDataset):
    """Shuffled, augmented batches that depend on (seed, epoch) and on nothing else.

    Batch `i` of epoch `e` is the same whatever ran before: in a run from scratch, in
    one resumed at epoch `e`, for any number of workers.

    `fit` must be given `shuffle=False`: left alone it mixes up the order of batches by
    Python's own random numbers. Nor does it tell a data set which epoch it is in.
    `epoch_callback` does: pass it along, and the epochs are those of `fit`, also after
    `initial_epoch` and `keras.callbacks.BackupAndRestore`. Without it, passes over the
    data are counted, from 0 or from the last `set_epoch`; evaluation is a pass too, and
    under `tf.distribute`, or where an epoch is a single batch, `fit` begins with one.

    Args:
        x: `(n, ...)` array of images.
        y: `(n, ...)` array of labels, or `None` for unlabelled data.
        batch_size: examples a batch; the last one of an epoch may have fewer.
        seed: an integer >= 0.
        augment: a layer or model to pass images through, in training mode:
            `keras.layers.RandomFlip`, ..., a `keras.Sequential` of them, or layers of
            keras-cv (on TensorFlow; they get random generators of their own). A layer
            of yours must draw from a `keras.random.SeedGenerator`. It runs on the CPU.
        workers: how many threads prepare the next batches while the model trains; 1
            prepares each when it is asked for. (Keras's own workers give the batches of
            a first epoch out of order.)
        views: how many augmented views of each image there are; epochs cycle through
            them, and a view of an image depends on the seed, the image's place in `x`
            and the view alone. So a teacher's predictions of them can be held
            (`keras_kd.SupervisionCache`). A view is made when its epoch begins, and
            takes the memory of `x` once more. `None` for other images in every epoch.

    Raises:
        ValueError: lengths disagree, `batch_size`, `workers` or `views` is below 1,
            `views` is given without `augment`, `seed` is negative, `augment` cannot be
            made reproducible, or `fit` shuffles too.

    Example:

    ```python
    augment = keras.Sequential([
        keras.layers.RandomFlip("horizontal"),
        # Shifts by up to 4 of 32 pixels, as CIFAR is usually padded and cropped.
        keras.layers.RandomTranslation(4 / 32, 4 / 32, fill_mode="constant",
                                       interpolation="nearest"),
    ])
    batches = Batches(data.x_train, data.y_train, seed=1, augment=augment)
    model.fit(batches, epochs=30, shuffle=False,
              callbacks=[batches.epoch_callback()])
    ```
    """

    def __init__(
        self,
        x: np.ndarray | Sequence[Any],
        y: np.ndarray | Sequence[Any] | None = None,
        batch_size: int = 128,
        seed: int = 0,
        augment: keras.layers.Layer | None = None,
        workers: int = 1,
        views: int | None = None,
    ):
        super().__init__()
        check_examples("x", x)
        if y is not None:
            check_examples("y", y)
        if y is not None and len(x) != len(y):
            raise ValueError(
                "`x` and `y` must have the same length. "
                f"Received: len(x)={len(x)}, len(y)={len(y)}"
            )
        if len(x) == 0:
            raise ValueError("`x` must hold examples. Received: len(x)=0")
        batch_size = check_integer("batch_size", batch_size, above=0, expected="> 0")
        seed = check_integer("seed", seed, at_least=0, expected=">= 0")
        workers = check_integer("workers", workers, above=0, expected="> 0")
        if augment is not None and not callable(augment):
            raise ValueError(
                "`augment` must be a layer or model that images pass through, as "
                f"`keras.layers.RandomFlip('horizontal')`. Received: augment={augment}"
            )
        if views is not None and (augment is None or not is_integer(views, above=0)):
            raise ValueError(
                "`views` must be > 0, and is for data with `augment`. "
                f"Received: views={views}, augment={augment}"
            )
        self.x = np.asarray(x)
        self.y = None if y is None else np.asarray(y)
        self.batch_size = batch_size
        self.seed = seed
        self.augment = augment
        self.views = views
        self._view: tuple[int, np.ndarray] = (-1, self.x)
        self._view_lock = threading.Lock()
        # Those of keras-cv take no such argument, and always augment.
        trains = augment is not None and takes_training(augment)
        self._training = {"training": True} if trains else {}
        self._cv_layers = [] if augment is None else give_own_generators(augment)
        self._cv_lock = threading.Lock()
        self.epoch = 0
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, int))
        self._last_was_read = False
        self._within_epoch = False
        self._reached = -1
        self._ahead = _Ahead(self._batch, len(self), workers) if workers > 1 else None
        if augment is not None:
            self._check_augment(augment)

    def __len__(self) -> int:
        return -(-len(self.x) // self.batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        epoch = self.epoch
        if self._within_epoch:
            self._check_order(index)
        if index == len(self) - 1:
            self._last_was_read = True
        return self._ahead(epoch, index) if self._ahead else self._batch(epoch, index)

    def set_epoch(self, epoch: int) -> None:
        """Makes the next batches those of `epoch`, counted from 0."""
        self.epoch = check_integer("epoch", epoch, at_least=0, expected=">= 0")

    def epoch_callback(self) -> keras.callbacks.Callback:
        """A callback that calls `set_epoch` with each epoch of `fit`."""
        return keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs: self.set_epoch(epoch)
        )

    def on_epoch_begin(self) -> None:
        self._within_epoch = True
        self._last_was_read = False

    def on_epoch_end(self) -> None:
        # Keras calls this also when it has only looked at the first batch.
        if self._last_was_read:
            self.epoch += 1
        self._within_epoch = False
        self._last_was_read = False

    def _check_order(self, index: int) -> None:
        # Only the first pass is checked: later, one that Keras has begun to read ahead
        # and dropped may still ask.
        if index > self._reached + 1:
            raise ValueError(
                "`Batches` shuffles by itself: give `fit` the argument "
                f"`shuffle=False`. Received: a request for batch {index} before "
                f"batch {self._reached + 1}."
            )
        self._reached = max(self._reached, index)

    def _batch(self, epoch: int, index: int) -> tuple[np.ndarray, ...]:
        start = index * self.batch_size
        chosen = self._permutation(epoch)[start : start + self.batch_size]
        if self.views is not None:
            x = self._images_of_view(epoch % self.views)[chosen]
        else:
            x = self.x[chosen]
            if self.augment is not None:
                x = self._augmented(x, epoch, index)
        return (x,) if self.y is None else (x, self.y[chosen])

    def _permutation(self, epoch: int) -> np.ndarray:
        known, order = self._order
        if known != epoch:
            generator = np.random.default_rng([self.seed, epoch])
            order = generator.permutation(len(self.x))
            self._order = (epoch, order)
        return order

    def _images_of_view(self, view: int) -> np.ndarray:
        with self._view_lock:
            known, images = self._view
            if known != view:
                # In groups that follow the order of `x`, not that of the batches.
                images = np.concatenate(
                    [
                        self._augmented(self.x[start : start + _GROUP], view, start)
                        for start in range(0, len(self.x), _GROUP)
                    ]
                )
                self._view = (view, images)
        return images

    def _augmented(self, x: np.ndarray, *place: int) -> np.ndarray:
        # A stateless call touches no variable: threads do not meet, and each batch has
        # random states of its own, by its place: epoch and number, or view and start.
        assert self.augment is not None
        states = np.random.SeedSequence([self.seed, *place])
        values = []
        for variable in self.augment.non_trainable_variables:
            if is_seed_state(variable):
                # 31 bits: torch keeps them in a signed integer.
                values.append(states.spawn(1)[0].generate_state(2) >> 1)
            else:
                values.append(variable.value)
        trainable = [variable.value for variable in self.augment.trainable_variables]
        # Their state is not Keras's, so one thread at a time.
        with self._cv_lock if self._cv_layers else contextlib.nullcontext():
            for layer in self._cv_layers:
                seed = int(states.spawn(1)[0].generate_state(1)[0])
                reset_generator(layer, seed)
            with keras.device("cpu"):
                x, _ = self.augment.stateless_call(
                    trainable, values, x, **self._training
                )
                return np.asarray(keras.ops.convert_to_numpy(x))

    def _check_augment(self, augment: keras.layers.Layer) -> None:
        x = self.x[: min(self.batch_size, 32)]
        augment(x, **self._training)
        first, second = (self._augmented(x, 0, 0) for _ in range(2))
        if len(first) != len(x):
            raise ValueError(
                "`augment` must give one image for each. "
                f"Received: {len(first)} for {len(x)}."
            )
        if not np.array_equal(first, second):
            raise ValueError(
                "`augment` must draw its random numbers from a "
                "`keras.random.SeedGenerator` that it tracks, to be reproducible. "
                f"Received: augment={augment}"
            )


class _Ahead:
    """Prepares the batches that will be asked for next."""

    def __init__(
        self,
        prepare: Callable[[int, int], tuple[np.ndarray, ...]],
        length: int,
        workers: int,
    ):
        self._prepare, self._length, self._workers = prepare, length, workers
        self._pool = ThreadPoolExecutor(workers)
        self._lock = threading.Lock()
        self._futures: dict[tuple[int, int], Future[tuple[np.ndarray, ...]]] = {}

    def __call__(self, epoch: int, index: int) -> tuple[np.ndarray, ...]:
        with self._lock:
            wanted = range(index, min(index + 1 + self._workers, self._length))
            futures = {}
            for i in wanted:
                key = (epoch, i)
                futures[key] = self._futures.get(key) or self._pool.submit(
                    self._prepare, epoch, i
                )
            self._futures = futures
        return futures[epoch, index].result()
