"""The counts of one campaign and of the events of one name, in bounded space."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from ..event_report import PropertyCount
from ..product import Account
from .series import Column, Series

__all__ = ["CampaignCount", "GoalCount", "NameCount", "VariationCount"]

# Without a settings file, ids and names are whatever a request says.
MAX_VARIATIONS = 200
MAX_GOALS = 200
MAX_PROPERTIES = 100
MAX_NAME_LENGTH = 200


@dataclass(slots=True)
class GoalCount:
    """One goal by the visitors of one variation.

    Attributes:
        conversions: The conversions that count.
        converted: The visitors who have at least one.
        revenue: The sum over the conversions that count.
    """

    conversions: int = 0
    converted: int = 0
    revenue: Decimal = Decimal(0)

    def add(self, other: GoalCount) -> None:
        """Add what another has counted."""
        self.conversions += other.conversions
        self.converted += other.converted
        self.revenue += other.revenue

    def take(self, other: GoalCount) -> None:
        """Take away what another has counted."""
        self.conversions -= other.conversions
        self.converted -= other.converted
        self.revenue -= other.revenue


@dataclass(slots=True)
class VariationCount:
    """One variation: how many different visitors were shown it, and its goals by id."""

    visitors: int = 0
    goals: dict[int, GoalCount] = field(default_factory=dict)


@dataclass(slots=True)
class CampaignCount:
    """One campaign.

    Attributes:
        account: Whose it is.
        campaign_id: Its number in the account.
        visitors: How many different visitors were shown any of its variations.
        variations: Its variations by id; None for conversions of visitors who were shown none.
        slots: The variations that visitors were shown, in the order in which they were first seen.
        series: How the counts grew.
        version: Grows with each change.
    """

    account: Account
    campaign_id: int
    visitors: int = 0
    variations: dict[int | None, VariationCount] = field(default_factory=dict)
    slots: list[int] = field(default_factory=list)
    series: Series = field(default_factory=Series)
    version: int = 0

    def find_slot(self, variation_id: int) -> int | None:
        """Return the place of a variation among the slots, None where there is no more room."""
        if variation_id in self.slots:
            return self.slots.index(variation_id)
        if len(self.slots) >= MAX_VARIATIONS:
            return None
        self.slots.append(variation_id)
        return len(self.slots) - 1

    def show(self, variation_id: int) -> None:
        """Count a visitor of a variation."""
        self.variations.setdefault(variation_id, VariationCount()).visitors += 1
        self.version += 1

    def find_goal(self, variation_id: int | None, goal_id: int) -> GoalCount | None:
        """Return the counts of a goal, None where there is no more room."""
        variation = self.variations.get(variation_id)
        if variation is None:
            if len(self.variations) > MAX_VARIATIONS:
                return None
            variation = self.variations[variation_id] = VariationCount()
        if goal_id not in variation.goals and len(variation.goals) >= MAX_GOALS:
            return None
        self.version += 1
        return variation.goals.setdefault(goal_id, GoalCount())

    def drop_unknown(self, goal_id: int, count: GoalCount) -> None:
        """Take a conversion away from those of unknown variations."""
        unknown = self.variations[None].goals
        unknown[goal_id].take(count)
        if not unknown[goal_id].conversions:
            del unknown[goal_id]
        if not unknown:
            del self.variations[None]

    def list_counts(self) -> dict[Column, int]:
        """Return what the series shows: visitors, and the visitors that each goal has converted."""
        return dict(self._list_counts())

    def describe_series(self) -> dict[str, object]:
        """Return how the counts grew until now, as JSON-ready values."""
        counts = self.list_counts()
        return {
            "columns": self.series.columns,
            "points": [[point.at_s, *point.counts] for point in self.series.points],
            "last": [counts.get(column, 0) for column in self.series.columns],
        }

    def _list_counts(self) -> Iterator[tuple[Column, int]]:
        for variation_id, variation in self.variations.items():
            yield (variation_id, None), variation.visitors
            for goal_id, goal in variation.goals.items():
                yield (variation_id, goal_id), goal.converted


@dataclass(slots=True)
class NameCount:
    """The events of one name; see `EventReport`."""

    received: int = 0
    duplicates: int = 0
    visitors: int = 0
    conversions: int = 0
    revenue: Decimal = Decimal(0)
    properties: dict[str, PropertyCount] = field(default_factory=dict)

    def add_properties(self, properties: Mapping[str, object]) -> None:
        """Add the properties of one event."""
        for name, value in properties.items():
            known = self.properties.get(name)
            if known is None:
                if len(self.properties) >= MAX_PROPERTIES or len(name) > MAX_NAME_LENGTH:
                    continue
                known = self.properties[name] = PropertyCount()
            known.add(value)
