"""Rates: which learning rates a student is tried with, and which is chosen."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple


class Rates(NamedTuple):
    """Learning rates of which each setting's is chosen, with the first seed.

    Attributes:
        rates: that are tried in any case. Where there is one, nothing is chosen.
        higher: that are tried one after the other, each while the highest so far was
            the best.
    """

    rates: Sequence[float]
    higher: Sequence[float] = ()

    def left(self, records: Iterable[dict[str, Any]], setting: str) -> list[float]:
        """The rates still to be tried, as far as is known by now.

        Args:
            records: of finished cells.
            setting: as `Cell.setting`.
        """
        scores = _validation(records, setting)
        left = [rate for rate in self.rates if rate not in scores]
        if left or len(self.rates) == 1:
            return left
        tried = list(self.rates)
        for rate in self.higher:
            if _best(scores, tried) != max(tried):
                return []
            if rate not in scores:
                return [rate]
            tried.append(rate)
        return []

    def chosen(self, records: Iterable[dict[str, Any]], setting: str) -> float | None:
        """The learning rate with which a setting did best on the validation images.

        Args:
            records: of finished cells.
            setting: as `Cell.setting`.

        Returns:
            The rate; `None` where the first seed has not finished with all of them.
        """
        if len(self.rates) == 1:
            return self.rates[0]
        records = list(records)
        if self.left(records, setting):
            return None
        scores = _validation(records, setting)
        return _best(scores, [r for r in (*self.rates, *self.higher) if r in scores])

    def of_chosen(self, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The cells at the rates that were chosen; tables are made of these."""
        rates = {s: self.chosen(records, s) for s in {r["setting"] for r in records}}
        return [r for r in records if r["learning_rate"] == rates[r["setting"]]]


def _validation(records: Iterable[dict[str, Any]], setting: str) -> dict[float, float]:
    return {
        r["learning_rate"]: r["validation_accuracy"]
        for r in records
        if r["setting"] == setting and r["seed"] == 0
    }


def _best(scores: dict[float, float], rates: Sequence[float]) -> float:
    # Of equals the lowest, which is the safest.
    return min(rates, key=lambda rate: (-scores[rate], rate))
