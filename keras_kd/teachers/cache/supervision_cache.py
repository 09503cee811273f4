"""SupervisionCache: a teacher's predictions, held in files."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np

from keras_kd.arguments import check_path
from keras_kd.teachers.cache.blocks import checked_arrays
from keras_kd.teachers.cache.build import build_cache
from keras_kd.teachers.cache.files import (
    AGAIN,
    BLOCKS_NAME,
    KEYS_NAME,
    LABELS_NAME,
    arrays_in,
    file_name,
)
from keras_kd.teachers.cache.given import Logits
from keras_kd.teachers.cache.integrity import (
    check_contents,
    check_fingerprints,
    check_size,
)
from keras_kd.teachers.cache.keys import RowsByKey, example_keys
from keras_kd.teachers.cache.manifest import (
    MANIFEST_NAME,
    CachedStage,
    CacheManifest,
    Spec,
)
from keras_kd.teachers.cache.mean import CachedMean
from keras_kd.teachers.cache.refusal import unknown_examples
from keras_kd.teachers.cache.source import weights_fingerprint
from keras_kd.teachers.cache.structure import from_json
from keras_kd.teachers.stages import Stages
from keras_kd.teachers.trajectory.reader import TeacherTrajectory


@keras.saving.register_keras_serializable(package="keras_kd")
class SupervisionCache(Stages[CachedStage]):
    """What a teacher, or each checkpoint of its trajectory, says of every example.

    A frozen teacher says the same of the same example in every epoch. Held in files
    that are mapped into memory, its predictions cost a student's training next to
    nothing: `Distiller(cache, student)` trains from them with the data that the cache
    was built of, in any order, batch size or form. Examples are known by their
    content, so that data, preprocessing or augmentation that the teacher has not seen
    are refused and never mismatched.

    A sequence of the teacher's stages, `CachedStage`: one for a model, as many as
    there are checkpoints for a trajectory. `OnlineTeacher(cache)` goes through them,
    and without it the last one supervises; `cache.stage(i)` is another one,
    `cache.mean()` their average. `keras_kd.complexity.compare_teachers` ranks them.

    What is read is what was written: every block of 64 KiB has a checksum, compared
    when it is first read, whether a student trains or teachers are compared, and a
    block that was damaged is refused by its file's name. `verify()` reads everything.

    Args:
        folder: where `SupervisionCache.build` made it.

    Raises:
        FileNotFoundError: there is no finished cache.
        ValueError: its manifest cannot be read or was altered, or a file has another
            size.

    Example:

    ```python
    cache = keras_kd.SupervisionCache.build(teacher, x_train, "supervision")
    distiller = keras_kd.Distiller(cache, student)
    distiller.compile(optimizer="adam")
    distiller.fit(x_train, epochs=30)
    ```
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = check_path("folder", folder)
        manifest = CacheManifest.read(self._folder)
        self._manifest = manifest
        super().__init__(
            manifest.stages,
            manifest.total_steps,
            f"the supervision cache in '{folder}'",
        )
        arrays = arrays_in(manifest)
        sums = {BLOCKS_NAME} if manifest.block_bytes else set()
        if others := manifest.files.keys() ^ (arrays.keys() | sums):
            other = sorted(others)[0]
            raise ValueError(
                f"The manifest {self._folder / MANIFEST_NAME} was altered: its 'files' "
                f"do not fit what it says that they hold, '{other:.80}' for one. "
                f"{AGAIN}"
            )
        for name, file in manifest.files.items():
            check_size(self._folder, name, file["size"])
        self._arrays = checked_arrays(
            self._folder,
            arrays,
            manifest.block_bytes,
            manifest.files[BLOCKS_NAME]["sha256"] if sums else None,
        )
        self._rows = RowsByKey(self._arrays[KEYS_NAME][:])
        self._labels = self._arrays.get(LABELS_NAME)

    @classmethod
    def build(
        cls,
        teacher: keras.Model | TeacherTrajectory | Callable[[Any], Any],
        data: Any,
        folder: str | os.PathLike[str],
        *,
        dtype: Literal["float16", "float32"] = "float16",
        top_k: int | None = None,
        taps: Iterable[str] = (),
        teacher_outputs: Literal["logits", "probabilities"] = "logits",
        output_kind: str | Mapping[str, Any] | Sequence[Any] | None = None,
        views: int | None = None,
        batch_size: int = 256,
        overwrite: bool = False,
        progress: bool = True,
    ) -> "SupervisionCache":
        """Runs the teacher once on every example and keeps what it says.

        The disk that it takes is announced before the teacher runs. A build that is
        stopped, at whatever moment, goes on where it was when it is called again; until
        it has ended the folder is no cache.

        Args:
            teacher: a built `keras.Model`, or a `keras_kd.TeacherTrajectory`, all of
                whose checkpoints are run; or any function from a batch of inputs (NumPy
                arrays) to outputs `(n, ..., k)`: a served teacher, or another
                framework's.
            data: the inputs as arrays, a pair `(x, y)`, or a data set that `fit` takes
                and that ends: `keras.utils.PyDataset`, `tf.data`, grain, a torch
                `DataLoader`. It is gone through once, and once for each checkpoint.
                With augmentation, `keras_kd.datasets.Batches(..., views=R)`, or a
                function that gives the data of a view, `data(0)` to `data(R - 1)`.
                Labels, where there are any, are kept to notice another order of the
                classes.
            folder: where to write; empty, or an earlier build of the same.
            dtype: of what is stored. In `"float16"` a logit comes back to 5e-4 of its
                distance to the example's largest one; `"float32"` is exact.
            top_k: keep the `k` largest logits of each example, and the log of the sum
                of the others' exponentials, which come back as equal shares of it. At
                temperature 1 no kept class's probability changes; at others the
                share of the rest does. `divergence` says what it costs.
            taps: paths of layers whose outputs are kept too, for losses that tap them.
            teacher_outputs: `"logits"` or `"probabilities"`: what the teacher gives.
                Logits are stored.
            output_kind: what the outputs mean: `"categorical"`, `"bernoulli"` or
                `"continuous"`, or a structure of these, as the outputs are one; `None`:
                inferred.
            views: augmented views of each example, through which epochs cycle; `None`
                without augmentation, or for that of `data`.
            batch_size: examples a forward pass, where `data` are arrays.
            overwrite: whether to replace what `folder` holds of another teacher or
                other data, in another form or damaged, instead of refusing it. The same
                cache is kept, or gone on with, in any case.
            progress: whether to show a progress bar.

        Returns:
            The cache.

        Raises:
            ValueError: an argument is out of range, the data augments without views,
                the teacher is not finite, or `folder` holds something else, or,
                without `overwrite`, the cache of another teacher or other data, and
                which.
            OSError: the disk is full. What was done before is kept.
            BlockingIOError: another process or thread builds in `folder`.
        """
        build_cache(
            teacher,
            data,
            folder,
            dtype=dtype,
            top_k=top_k,
            taps=taps,
            teacher_outputs=teacher_outputs,
            output_kind=output_kind,
            views=views,
            batch_size=batch_size,
            overwrite=overwrite,
            progress=progress,
        )
        return cls(folder)

    @classmethod
    def from_logits(
        cls,
        data: Any,
        logits: Any,
        folder: str | os.PathLike[str],
        *,
        steps: Iterable[int] | None = None,
        dtype: Literal["float16", "float32"] = "float16",
        top_k: int | None = None,
        teacher_outputs: Literal["logits", "probabilities"] = "logits",
        output_kind: str | Mapping[str, Any] | Sequence[Any] | None = None,
        overwrite: bool = False,
        progress: bool = True,
    ) -> "SupervisionCache":
        """A cache of predictions that are there already.

        Args:
            data: `n` examples: arrays, or a pair `(x, y)`.
            logits: of each, in the same order: array `(n, ..., k)`, the path of its
                `.npy` file, or a structure of these; with `steps` a list of such.
            folder: as in `build`.
            steps: teacher batches completed at each checkpoint, increasing, for
                `OnlineTeacher`; `None`: one final teacher.
            dtype: as in `build`.
            top_k: as in `build`.
            teacher_outputs: `"logits"`, or `"probabilities"` if these are such.
            output_kind: as in `build`; `None`: the student's compiled loss tells.
            overwrite: as in `build`.
            progress: as in `build`.

        Raises:
            ValueError: they do not fit, are not finite, or differ for equal examples.

        Example:

        >>> import tempfile
        >>> from keras_kd import SupervisionCache
        >>> x, logits = np.eye(4), np.arange(12.0).reshape(4, 3)
        >>> folder = tempfile.mkdtemp()
        >>> cache = SupervisionCache.from_logits(x, logits, folder, progress=False)
        >>> print(cache.predict(x[2:3]))
        [[6. 7. 8.]]
        """
        build_cache(
            Logits(logits, steps),
            data,
            folder,
            dtype=dtype,
            top_k=top_k,
            taps=(),
            teacher_outputs=teacher_outputs,
            output_kind=output_kind,
            views=None,
            batch_size=256,
            overwrite=overwrite,
            progress=progress,
        )
        return cls(folder)

    def __repr__(self) -> str:
        return (
            f"<SupervisionCache '{self.folder}': {self.n:,} examples, {len(self)} "
            f"checkpoint{'s' if len(self) > 1 else ''} of '{self.teacher_name}'>"
        )

    # What it is

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self._folder

    @property
    def n(self) -> int:
        """Different examples, all views counted."""
        return self._manifest.n

    @property
    def views(self) -> int | None:
        """Augmented views of each example, `None` without augmentation."""
        return self._manifest.views

    @property
    def teacher_name(self) -> str:
        """The name of the teacher."""
        return self._manifest.teacher

    @property
    def teacher_outputs(self) -> str:
        """`"logits"` or `"probabilities"`: what it gave. Logits are held."""
        return self._manifest.teacher_outputs

    @property
    def dtype(self) -> str:
        """In which type it is stored."""
        return self._manifest.packing.dtype

    @property
    def top_k(self) -> int | None:
        """How many logits of an example are kept, `None` for all."""
        return self._manifest.packing.top_k

    @property
    def divergence(self) -> dict[str, float]:
        """What storing less costs, by temperature.

        The mean divergence of what is read from what the teacher (its last checkpoint)
        said, on the first batch: Kullback and Leibler's, in nats; of values the mean
        squared error. Taps do not count: float16 holds each to 1e-3 of the largest
        value of its batch, or `build` refuses it.
        """
        return dict(self._manifest.divergence)

    @property
    def output_kinds(self) -> list[str | None] | None:
        """What each output means, in the order of `keras.tree.flatten`.

        `"categorical"`, `"bernoulli"` or `"continuous"`, or `None` where it is not
        known. Caches of version 0.1 do not say it: then this is `None`.
        """
        kinds = self._manifest.output_kinds
        return None if kinds is None else list(kinds)

    @property
    def has_labels(self) -> bool:
        """Whether labels are held."""
        return self._manifest.labels is not None

    @property
    def spec(self) -> Spec:
        """What the teacher takes and gives."""
        return self._manifest.spec

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(file["size"] for file in self._manifest.files.values())

    # What it says

    def stage(self, index: int) -> CachedMean:
        """One stage alone, as supervision: an early-stopped teacher, say."""
        return CachedMean([(self, self[index].index)])

    def mean(
        self,
        indices: Iterable[int] | None = None,
        of: Literal["logits", "probabilities"] = "logits",
    ) -> CachedMean:
        """The mean over several stages, as supervision.

        Args:
            indices: which stages; `None` for all.
            of: whether logits are averaged, or probabilities.
        """
        chosen = range(len(self)) if indices is None else indices
        return CachedMean([(self, self[index].index) for index in chosen], of)

    def predict(self, x: Any, index: int = -1) -> Any:
        """The logits that a stage gave, in the order of `x`.

        Args:
            x: inputs, as Keras passes them to a model, that the cache holds.
            index: which stage.

        Returns:
            NumPy array `(len(x), ..., classes)`, or a structure of such.

        Raises:
            ValueError: the cache does not hold an example of `x`.
        """
        leaves, _ = self.look_up(self.rows(x), self[index].index)
        return from_json(self.spec.outputs, lambda position: leaves[position])

    def rows(self, inputs: Any) -> np.ndarray:
        """Where the examples of a batch are in the arrays, `(m,)`.

        Raises:
            ValueError: one is not there; the message says what differs.
        """
        rows, known = self._rows.find(example_keys(inputs, self._manifest.key_bits))
        if not known.all():
            raise unknown_examples(inputs, known, self._manifest, self._folder)
        return rows

    def labels(self, rows: np.ndarray) -> np.ndarray | None:
        """The labels that the data had, `(m,)`, or `None`."""
        return None if self._labels is None else self._labels[rows]

    def look_up(
        self, rows: np.ndarray, index: int
    ) -> tuple[tuple[np.ndarray, ...], dict[str, np.ndarray]]:
        """Logits of each output and each tap's features, float32.

        Raises:
            ValueError: a file was altered where it is read for the first time.
        """
        manifest = self._manifest
        logits = []
        for i, shape in enumerate(self.spec.logits):
            parts = {
                part: self._arrays[file_name(index, f"output-{i}.{part}")][rows]
                for part in manifest.packing.parts(shape)
            }
            logits.append(manifest.packing.unpack(parts, shape[-1]))
        taps = {
            path: self._arrays[file_name(index, f"tap-{i}")][rows].astype(np.float32)
            for i, path in enumerate(self.spec.taps)
        }
        return tuple(logits), taps

    # Whether it is what it should be

    def check_teacher(self, teacher: Any) -> None:
        """Refuses another teacher than the one whose predictions these are.

        Args:
            teacher: a `keras.Model`, a `TeacherTrajectory`, or another cache.

        Raises:
            ValueError: says which checkpoint differs.
        """
        if isinstance(teacher, TeacherTrajectory):
            found = [checkpoint.sha256 for checkpoint in teacher]
        elif isinstance(teacher, SupervisionCache):
            found = [stage.fingerprint for stage in teacher]
        else:
            found = [weights_fingerprint(teacher)]
        held = [stage.fingerprint for stage in self]
        check_fingerprints(found, held, self._folder, self.teacher_name)

    def verify(self) -> None:
        """Reads every file and compares its checksum.

        Raises:
            ValueError: a file was altered; the message names it.
            FileNotFoundError: one is missing.
        """
        check_contents(self._folder, self._manifest.files)

    # Saving: a reference, not the arrays

    def get_config(self) -> dict[str, Any]:
        return {
            "folder": str(self._folder),
            "fingerprints": self._manifest.teacher_identity(),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "SupervisionCache":
        cache = cls(config["folder"])
        if cache._manifest.teacher_identity() != config["fingerprints"]:
            raise ValueError(
                f"The supervision cache in '{cache.folder}' is of another teacher than "
                "when the distiller was saved."
            )
        return cache
