"""Seals: the checksums of what a study's results depend on.

A file's is in `NAME.sha256` beside it, a JSON content's under its own key `sha256`.
What an earlier version has written has none, and is believed.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from keras_kd.files import (
    json_sha256,
    read_json,
    remove,
    sha256,
    write_json,
    write_text,
)

KEY = "sha256"


def write_sealed(file: Path, write: Callable[[], None]) -> None:
    """Has a file written, durably, and keeps its checksum.

    Args:
        file: that is written.
        write: puts it in place, by `keras_kd.files`.
    """
    seal = _seal_of(file)
    # First, or a crash would leave the new file with the old one's checksum.
    remove(seal)
    write()
    write_text(seal, sha256(file) + "\n")


def check_sealed(file: Path, way_out: str) -> None:
    """Refuses a file that is not what was written.

    Args:
        file: which is there.
        way_out: what to do, for the message.

    Raises:
        ValueError: names the file and the way out.
    """
    seal = _seal_of(file)
    if seal.exists() and seal.read_text(errors="replace").strip() != sha256(file):
        raise damaged(file, f"it is not what {seal.name} says", way_out)


def write_record(file: Path, content: dict[str, Any]) -> None:
    """Writes JSON that holds its own checksum."""
    write_json(file, {**content, KEY: json_sha256(content)})


def read_record(file: Path, way_out: str) -> dict[str, Any]:
    """Reads it, its checksum left out.

    Raises:
        ValueError: it is damaged; the message names the file and the way out.
    """
    try:
        content = read_json(file)
    except ValueError as error:
        raise damaged(file, f"it is not valid JSON ({error})", way_out) from None
    if not isinstance(content, dict):
        raise damaged(file, "it holds no fields", way_out)
    sealed = content.pop(KEY, None)
    if sealed is not None and sealed != json_sha256(content):
        raise damaged(file, "it is not what its checksum says", way_out)
    return content


def damaged(file: Path, reason: str, way_out: str) -> ValueError:
    """The error of a damaged file."""
    return ValueError(f"'{file}' is damaged: {reason}. {way_out}")


def _seal_of(file: Path) -> Path:
    return file.with_name(f"{file.name}.sha256")
