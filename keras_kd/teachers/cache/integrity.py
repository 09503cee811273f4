"""Whether a cache is what it should be: its files, and its teacher."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_kd.files import sha256
from keras_kd.teachers.cache.files import AGAIN


def check_size(folder: Path, name: str, size: int) -> None:
    """Refuses a file that is missing or of another size than recorded.

    Raises:
        FileNotFoundError, ValueError: the message names it.
    """
    path = folder / name
    try:
        found = path.stat().st_size
    except FileNotFoundError:
        raise FileNotFoundError(
            f"The supervision cache in '{folder}' is not whole: {path} is "
            f"missing. {AGAIN}"
        ) from None
    if found != size:
        how = "truncated" if found < size else "altered"
        raise ValueError(f"{path} was {how}: it has {found} of {size} bytes. {AGAIN}")


def check_contents(folder: Path, files: Mapping[str, Mapping[str, Any]]) -> None:
    """Reads every file and compares size and checksum with those recorded.

    Raises:
        FileNotFoundError, ValueError: the message names the file.
    """
    for name, file in files.items():
        check_size(folder, name, file["size"])
        if (found := sha256(folder / name)) != file["sha256"]:
            raise ValueError(
                f"{folder / name} was altered: its SHA-256 is {found}, "
                f"recorded was {file['sha256']}. {AGAIN}"
            )


def check_fingerprints(
    found: list[str], held: list[str], folder: Path, name: str
) -> None:
    """Refuses another teacher than the one whose predictions are held.

    Args:
        found: fingerprints of the checkpoints of the teacher in question.
        held: those in the cache.
        folder: of the cache.
        name: of its teacher.

    Raises:
        ValueError: says which checkpoint differs.
    """
    if found == held:
        return
    if len(found) != len(held):
        what = f"{len(found)} checkpoints, and the cache holds {len(held)}"
    else:
        i = [a == b for a, b in zip(found, held, strict=True)].index(False)
        what = f"checkpoint {i} with the fingerprint {found[i][:12]}..., and the "
        what += f"cache holds {held[i][:12]}..."
    raise ValueError(
        f"The teacher must be the one whose predictions the cache in '{folder}' holds, "
        f"'{name}'. Received: another one, {what}."
    )
