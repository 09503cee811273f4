"""Watch: who is told how far a study is."""

from typing import Any, Protocol

import keras


class Watch(Protocol):
    """Is told how far a study is."""

    def training(self, label: str, epochs: int) -> keras.callbacks.Callback:
        """A training begins; the callback goes along."""

    def finished(self, done: int, cells: int, record: dict[str, Any] | None) -> None:
        """So many of the cells are done, the last with this record."""
