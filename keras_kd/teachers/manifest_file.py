"""The file that makes a folder a trajectory or a cache: JSON that says what it is."""

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from keras_kd.files import json_sha256, read_json, write_json
from keras_kd.outputs import KINDS

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class ManifestFile:
    """One kind of manifest: how it is read, written and refused.

    Args:
        format: what it says that it is.
        version: of that format, the one that is written and read.
        called: what it is, for messages.
        about: what a folder has that has one, for messages.
        made: a sentence that says who makes one.
        sealed: whether it holds its own checksum, as `sha256`. Earlier ones of a format
            do not, and are believed.
    """

    format: str
    version: int
    called: str
    about: str
    made: str
    sealed: bool = False

    def read(self, path: Path, parse: Callable[[dict[str, Any]], T]) -> T:
        """What the manifest says.

        Args:
            path: of the file.
            parse: makes it of the content; what it raises for an entry that is missing
                (`KeyError`) or is no such thing is the reason of the refusal.

        Raises:
            FileNotFoundError: there is none.
            ValueError: it is not one; the message names file and reason.
        """
        try:
            content = read_json(path)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise FileNotFoundError(
                f"There is no {self.about} in '{path.parent}': {path} is missing. "
                f"{self.made}"
            ) from error
        except ValueError as error:
            raise self._unreadable(path, f"it is not valid JSON ({error})") from None
        if not isinstance(content, dict) or content.get("format") != self.format:
            raise self._unreadable(path, f"it does not say 'format': '{self.format}'")
        if content.get("version") != self.version:
            raise self._unreadable(
                path,
                f"it has version {content.get('version')}, and this release of "
                f"keras_kd reads version {self.version}",
            )
        seal = content.pop("sha256", None)
        if seal is not None and seal != json_sha256(content):
            raise self._unreadable(
                path, "it was altered: it is not what its own 'sha256' says"
            )
        try:
            return parse(content)
        except KeyError as error:
            raise self._unreadable(path, f"the entry {error} is missing") from error
        except (TypeError, ValueError, AttributeError) as error:
            raise self._unreadable(path, str(error)) from error

    def write(self, path: Path, content: Mapping[str, Any]) -> None:
        """Replaces the manifest, whole or not at all."""
        head = {"format": self.format, "version": self.version}
        content = {**head, **content}
        if self.sealed:
            # As it will be read.
            content["sha256"] = json_sha256(json.loads(json.dumps(content)))
        write_json(path, content)

    def _unreadable(self, path: Path, reason: str) -> ValueError:
        return ValueError(
            f"The {self.called} {path} cannot be read: {reason}. {self.made}"
        )


def read_output_kinds(content: Mapping[str, Any]) -> list[str | None] | None:
    """What each output means, an entry that version 0.1 did not write.

    Raises:
        ValueError: it is something else.
    """
    kinds = content.get("output_kinds")
    if kinds is None:
        return None
    if not isinstance(kinds, list) or any(k not in (None, *KINDS) for k in kinds):
        raise ValueError(
            f"'output_kinds' is no list of {', '.join(KINDS)}, but {kinds!r}"
        )
    return kinds
