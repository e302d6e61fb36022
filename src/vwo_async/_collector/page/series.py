"""How the counts of one campaign grew: a bounded number of points, evenly spread over the time."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

__all__ = ["Column", "Point", "Series"]

MAX_POINTS = 240
_FIRST_STEP_S = 1.0

Column: TypeAlias = tuple[int | None, int | None]
"""A variation, None for the unknown one; and a goal, None for its visitors."""


class Point(NamedTuple):
    """What was counted until a moment: a number for each of the series' first columns."""

    at_s: float
    counts: Sequence[int]


class Series:
    """The growth of one campaign.

    Attributes:
        columns: What is counted; new ones come at the end.
        points: The moments, in order.
        step_s: How far they are apart, at least. It doubles when there are too many.
    """

    def __init__(self) -> None:
        self.columns: list[Column] = []
        self.points: list[Point] = []
        self.step_s = _FIRST_STEP_S

    def is_due(self, at_s: float) -> bool:
        """Tell whether it is time for another point."""
        return not self.points or at_s >= self.points[-1].at_s + self.step_s

    def add(self, at_s: float, counts: Mapping[Column, int]) -> None:
        """Add a point."""
        self.points.append(self.make_point(at_s, counts))
        if len(self.points) > MAX_POINTS:
            # Every second one, and the newest among them.
            self.points = self.points[::-2][::-1]
            self.step_s *= 2

    def make_point(self, at_s: float, counts: Mapping[Column, int]) -> Point:
        """Return a point."""
        known = set(self.columns)
        self.columns += [column for column in counts if column not in known]
        return Point(at_s, array("Q", (counts.get(column, 0) for column in self.columns)))

    def dump(self) -> dict[str, object]:
        """Return a copy, of which JSON can hold all but the arrays."""
        return {
            "columns": list(self.columns),
            "points": list(self.points),
            "step_s": self.step_s,
        }

    @classmethod
    def load(
        cls,
        columns: Iterable[Sequence[int | None]],
        points: Iterable[tuple[float, Iterable[int]]],
        step_s: float,
    ) -> Series:
        """Return the series of `dump`."""
        found = cls()
        found.columns = [(variation, goal) for variation, goal in columns]
        found.points = [Point(at_s, array("Q", counts)) for at_s, counts in points]
        found.step_s = step_s
        return found
