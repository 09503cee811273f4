"""The manifest of a supervision cache, `supervision.json`: what it holds, of whom."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_kd.files import put_in_place
from keras_kd.teachers.cache.packing import Packing

MANIFEST_NAME = "supervision.json"
_FORMAT = "keras_kd.supervision"
_VERSION = 1


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

    @classmethod
    def read(cls, folder: Path, name: str = MANIFEST_NAME) -> "CacheManifest":
        """The manifest in `folder`.

        Raises:
            FileNotFoundError: there is none.
            ValueError: it is not one; the message names file and reason.
        """
        path = folder / name
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise FileNotFoundError(
                f"There is no finished supervision cache in '{folder}': {path} is "
                "missing. `keras_kd.SupervisionCache.build` makes one, and goes on "
                "where an earlier build was stopped."
            ) from error
        except ValueError as error:
            raise _unreadable(path, f"it is not valid JSON ({error})") from error
        if not isinstance(content, dict) or content.get("format") != _FORMAT:
            raise _unreadable(path, f"it does not say 'format': '{_FORMAT}'")
        if content.get("version") != _VERSION:
            raise _unreadable(
                path,
                f"it has version {content.get('version')}, and this release of "
                f"keras_kd reads version {_VERSION}",
            )
        try:
            spec, packing = content["spec"], content["packing"]
            return cls(
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
            )
        except KeyError as error:
            raise _unreadable(path, f"the entry {error} is missing") from error
        except (TypeError, ValueError, AttributeError) as error:
            raise _unreadable(path, str(error)) from error

    def write(self, folder: Path, name: str = MANIFEST_NAME) -> None:
        """Replaces the manifest in `folder`, whole or not at all."""
        content = {"format": _FORMAT, "version": _VERSION, **dataclasses.asdict(self)}
        path = folder / name
        temporary = path.with_name(path.name + ".tmp")
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
        put_in_place(temporary, path)

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
        ):
            # Of other examples the labels are others, too.
            if here != there and not (what == "labels" and "data" in found):
                found.append(what)
        return found

    def teacher_identity(self) -> list[str]:
        """Fingerprints of all stages."""
        return [stage.fingerprint for stage in self.stages]


def as_json(structure, leaf=lambda value: value) -> Any:
    """A structure of dicts, lists and tuples as JSON holds it; leaves by `leaf`."""
    if isinstance(structure, dict):
        return {"dict": {key: as_json(v, leaf) for key, v in structure.items()}}
    if isinstance(structure, list | tuple):
        kind = "list" if isinstance(structure, list) else "tuple"
        return {kind: [as_json(value, leaf) for value in structure]}
    return {"leaf": leaf(structure)}


def from_json(content, leaf=lambda value: value) -> Any:
    """The structure that `as_json` wrote, each leaf passed through `leaf`."""
    ((kind, value),) = content.items()
    if kind == "dict":
        return {key: from_json(item, leaf) for key, item in value.items()}
    if kind == "leaf":
        return leaf(value)
    items = [from_json(item, leaf) for item in value]
    return items if kind == "list" else tuple(items)


def _unreadable(path: Path, reason: str) -> ValueError:
    return ValueError(f"The manifest {path} cannot be read: {reason}.")
