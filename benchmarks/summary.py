"""Medians, spreads and ratios of raw samples."""

from __future__ import annotations

from statistics import median
from typing import Any, NamedTuple

Json = dict[str, Any]


class Spread(NamedTuple):
    """How samples are spread.

    Attributes:
        least: The smallest.
        low: A quarter is below it.
        middle: The median.
        high: A quarter is above it.
    """

    least: float
    low: float
    middle: float
    high: float

    @property
    def noise(self) -> float:
        """The distance between the quartiles, as a share of the median."""
        return (self.high - self.low) / self.middle if self.middle else 0.0


def spread(values: list[float]) -> Spread:
    """Return the spread of one or more values."""
    ordered = sorted(values)
    last = len(ordered) - 1
    return Spread(
        ordered[0],
        _between(ordered, last * 0.25),
        _between(ordered, last * 0.5),
        _between(ordered, last * 0.75),
    )


def _between(ordered: list[float], position: float) -> float:
    """Return the value at a position, interpolated between two samples if necessary."""
    index = int(position)
    after = ordered[min(index + 1, len(ordered) - 1)]
    return ordered[index] + (after - ordered[index]) * (position - index)


class Results:
    """The samples of a run, by case, entrant and metric.

    Args:
        raw: What the runner wrote.
    """

    def __init__(self, raw: Json) -> None:
        self.about: Json = raw["about"]
        self.versions: dict[str, dict[str, str]] = raw["versions"]
        self.missing: list[dict[str, str]] = raw["missing"]
        self._rounds: dict[tuple[str, str], dict[int, Json]] = {}
        for one in raw["samples"]:
            key = (one["case"], one["label"])
            self._rounds.setdefault(key, {})[one["round"]] = one["values"]

    def labels(self, case: str) -> list[str]:
        """Return the entrants of a case, in the order of the first round."""
        return [label for name, label in self._rounds if name == case]

    def cases(self, topic: str) -> list[str]:
        """Return the cases whose names begin with *topic*, in order."""
        names = dict.fromkeys(case for case, _ in self._rounds)
        return [name for name in names if name.partition("/")[0] == topic]

    def spread(self, case: str, label: str, metric: str) -> Spread | None:
        """Return the spread of all samples of a metric, None where there are none."""
        rounds = self._rounds.get((case, label), {})
        values = [one for each in rounds.values() for one in each.get(metric, ())]
        return spread(values) if values else None

    def middle(self, case: str, label: str, metric: str) -> float | None:
        """Return the median of all samples of a metric, None where there are none."""
        found = self.spread(case, label, metric)
        return None if found is None else found.middle

    def ratio(self, metric: str, over: tuple[str, str], under: tuple[str, str]) -> Spread | None:
        """Return the spread of the ratios that the rounds had, None where no round has both.

        Samples of one round stand next to each other in time, so that what slows the machine for a
        while slows both.

        Args:
            metric: What is compared.
            over: Case and label of the numerator.
            under: Case and label of the denominator.
        """
        first, second = self._rounds.get(over, {}), self._rounds.get(under, {})
        ratios = [
            median(first[number][metric]) / median(second[number][metric])
            for number in first
            if number in second and metric in first[number] and metric in second[number]
        ]
        return spread(ratios) if ratios else None
