"""The manifest of a supervision cache, `supervision.json`: what it holds, of whom."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_kd.arguments import is_integer
from keras_kd.teachers.cache.packing import Packing
from keras_kd.teachers.manifest_file import ManifestFile, read_output_kinds

MANIFEST_NAME = "supervision.json"
_FILE = ManifestFile(
    format="keras_kd.supervision",
    version=1,
    called="manifest",
    about="finished supervision cache",
    made="`keras_kd.SupervisionCache.build` makes one, and goes on where an earlier "
    "build was stopped.",
    sealed=True,
)


@dataclasses.dataclass(frozen=True)
class CachedStage:
    """A teacher, or one checkpoint of its trajectory, whose predictions are held.

    Attributes:
        index: place in the cache, from 0.
        step: teacher batches completed, 0 for a teacher without a trajectory.
        epoch: teacher epochs completed, likewise.
        metrics: the teacher's logs at that moment.
        fingerprint: SHA-256 of the teacher's weights.
        accuracy: share of the examples whose label the teacher puts first, `None`
            without labels.
    """

    index: int
    step: int
    epoch: int
    metrics: Mapping[str, Any]
    fingerprint: str
    accuracy: float | None = None


@dataclasses.dataclass(frozen=True)
class Spec:
    """What a teacher takes and gives, for one example.

    Attributes:
        inputs: structure (of JSON) of `{"shape", "dtype"}`.
        outputs: structure (of JSON) of positions in `logits`.
        logits: the shape of each output, `(..., classes)`.
        taps: the shape that each tapped layer gives, by its path.
    """

    inputs: Any
    outputs: Any
    logits: tuple[tuple[int, ...], ...]
    taps: Mapping[str, tuple[int, ...]]


@dataclasses.dataclass(frozen=True)
class CacheManifest:
    """All that is known of a cache besides the arrays themselves.

    Attributes:
        teacher: the teacher's name.
        teacher_outputs: `"logits"` or `"probabilities"`, what it gave.
        total_steps: batches of its training in all, 0 without a trajectory.
        stages: whose predictions are held.
        n: different examples.
        views: augmented views of each example, `None` without augmentation.
        data: fingerprint of all examples.
        ranges: smallest and largest number of each input, to tell a preprocessing by.
        labels: fingerprint of their labels, `None` without any.
        spec: what the teacher takes and gives.
        packing: how logits are stored.
        divergence: what packing costs, `{temperature: nats}`.
        files: `{name: {"size", "sha256"}}`.
        key_bits: of a number by which examples are told apart: 64, and at first 32.
        output_kinds: what each output means, as `keras.tree.flatten` orders them:
            `"categorical"`, `"bernoulli"` or `"continuous"`; `None` where it is not
            known.
        block_bytes: about how many bytes of an array have a checksum, `None` for
            caches of earlier versions, which have none.
    """

    teacher: str
    teacher_outputs: str
    total_steps: int
    stages: tuple[CachedStage, ...]
    n: int
    views: int | None
    data: str
    ranges: tuple[tuple[float, float], ...]
    labels: str | None
    spec: Spec
    packing: Packing
    divergence: Mapping[str, float]
    files: Mapping[str, Mapping[str, Any]]
    output_kinds: list[str | None] | None = None
    key_bits: int = 32
    block_bytes: int | None = None

    @classmethod
    def read(cls, folder: Path, name: str = MANIFEST_NAME) -> "CacheManifest":
        """The manifest in `folder`.

        Raises:
            FileNotFoundError: there is none.
            ValueError: it is not one; the message names file and reason.
        """
        return _FILE.read(folder / name, cls._parse)

    @classmethod
    def _parse(cls, content: dict[str, Any]) -> "CacheManifest":
        spec, packing = content["spec"], content["packing"]
        manifest = cls(
            teacher=content["teacher"],
            teacher_outputs=content["teacher_outputs"],
            total_steps=int(content["total_steps"]),
            stages=tuple(CachedStage(**stage) for stage in content["stages"]),
            n=int(content["n"]),
            views=content["views"],
            data=content["data"],
            ranges=tuple((low, high) for low, high in content["ranges"]),
            labels=content["labels"],
            spec=Spec(
                spec["inputs"],
                spec["outputs"],
                tuple(tuple(shape) for shape in spec["logits"]),
                {path: tuple(shape) for path, shape in spec["taps"].items()},
            ),
            packing=Packing(packing["dtype"], packing["top_k"]),
            divergence=content["divergence"],
            files={**content["files"]},
            output_kinds=read_output_kinds(content),
            key_bits=int(content.get("key_bits", 32)),
            block_bytes=content.get("block_bytes"),
        )
        for file in manifest.files.values():
            if type(file["size"]) is not int or not isinstance(file["sha256"], str):
                raise ValueError("'files' gives no 'size' and 'sha256'")
        if manifest.key_bits not in (32, 64):
            raise ValueError(f"'key_bits' is {manifest.key_bits}, not 32 or 64")
        size = manifest.block_bytes
        if size is not None and not is_integer(size, above=0):
            raise ValueError(f"'block_bytes' is {size!r}, not an integer > 0")
        kinds, n = manifest.output_kinds, len(manifest.spec.logits)
        if kinds is not None and len(kinds) != n:
            raise ValueError(f"it has {len(kinds)} 'output_kinds' for {n} outputs")
        return manifest

    def write(self, folder: Path, name: str = MANIFEST_NAME) -> None:
        """Replaces the manifest in `folder`, whole or not at all."""
        _FILE.write(folder / name, dataclasses.asdict(self))

    def differences(self, other: "CacheManifest") -> list[str]:
        """In what a cache differs from another, besides what it has worked out."""
        found = []
        for what, here, there in (
            ("teacher", self.teacher_identity(), other.teacher_identity()),
            ("data", self.data, other.data),
            ("teacher_outputs", self.teacher_outputs, other.teacher_outputs),
            ("views", self.views, other.views),
            ("dtype", self.packing.dtype, other.packing.dtype),
            ("top_k", self.packing.top_k, other.packing.top_k),
            ("taps", sorted(self.spec.taps), sorted(other.spec.taps)),
            ("labels", self.labels, other.labels),
            ("output_kinds", self.output_kinds, other.output_kinds),
        ):
            # Of other examples the labels are others, too.
            if what == "labels" and "data" in found:
                continue
            # Earlier releases do not say what outputs mean.
            if what == "output_kinds" and _may_be_the_same(here, there):
                continue
            if here != there:
                found.append(what)
        return found

    def teacher_identity(self) -> list[str]:
        """Fingerprints of all stages."""
        return [stage.fingerprint for stage in self.stages]


def _may_be_the_same(here: Any, there: Any) -> bool:
    """Whether two lists of kinds agree, as far as both are known."""
    if here is None or there is None:
        return True
    return len(here) == len(there) and all(
        None in pair or pair[0] == pair[1] for pair in zip(here, there, strict=True)
    )
