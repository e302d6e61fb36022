"""All received events in order, and the visitors and conversions that count."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias

from .product import Account
from .received import Conversion, Kind, Received

__all__ = ["Counted", "Ledger"]

CampaignId: TypeAlias = tuple[Account, int]
"""A campaign: two accounts may have campaigns of the same number."""


@dataclass(frozen=True, slots=True)
class Counted:
    """A conversion that counts: the visitor's first for this goal, or any for a repeatable goal.

    Attributes:
        campaign_id: The campaign; None in FME.
        goal_id: The goal; None in FME.
        visitor: The visitor's UUID.
        variation_id: The variation in the event; None for events of ``/events/t`` and of FME, which have
            none.
        revenue: The revenue; None if the event has none.
        event_name: The name of the event, which in FME stands for the metrics that count it; None for
            events without a name.
        account: Of which account.
    """

    campaign_id: int | None
    goal_id: int | None
    visitor: str
    variation_id: int | None
    revenue: Decimal | None
    event_name: str | None
    account: Account


class Ledger:
    """The received events in order of arrival, and the counts that VWO would show.

    Iterating, indexing and ``len`` give the events. A visitor counts once per campaign and
    variation; a conversion once per visitor, campaign and goal, or once per event id where the goal
    counts every event. In FME the name of the event takes the place of campaign and goal.
    """

    def __init__(self) -> None:
        self._events: list[Received] = []
        self._kinds: dict[Kind, int] = {"user": 0, "goal": 0, "push": 0, "sdk": 0}
        self._conversions = 0
        self._counted: dict[tuple[object, ...], Counted] = {}
        self._shown: dict[CampaignId, dict[str, list[int]]] = {}
        self._visitors: set[tuple[Account, str]] = set()

    def __len__(self) -> int:
        return len(self._events)

    def __iter__(self) -> Iterator[Received]:
        return iter(self._events)

    def __getitem__(self, index: int) -> Received:
        return self._events[index]

    def __repr__(self) -> str:
        counts = f"unique_conversions={len(self._counted)} visitors={self.visitors}"
        return f"<Ledger events={len(self)} {counts}>"

    @property
    def conversions(self) -> int:
        """How many conversions there are in all events, repetitions included."""
        return self._conversions

    @property
    def visitors(self) -> int:
        """How many visitors were shown a variation of any campaign."""
        return len(self._visitors)

    @property
    def by_kind(self) -> Mapping[Kind, int]:
        """How many events there are of each kind."""
        return dict(self._kinds)

    @property
    def counted(self) -> tuple[Counted, ...]:
        """The conversions that count, in order of arrival."""
        return tuple(self._counted.values())

    @property
    def unique_conversions(self) -> int:
        """How many conversions count."""
        return len(self._counted)

    @property
    def campaigns(self) -> frozenset[CampaignId]:
        """The campaigns of all events, each with its account."""
        converted = {
            (one.account, one.campaign_id)
            for one in self._counted.values()
            if one.campaign_id is not None
        }
        return frozenset(self._shown) | converted

    def shown(self, account: Account, campaign_id: int) -> Mapping[str, list[int]]:
        """Return the variations of a campaign that each visitor was shown, in order of arrival."""
        return self._shown.get((account, campaign_id), {})

    def add(self, events: Iterable[Received]) -> None:
        """Add events at the end."""
        for event in events:
            self._events.append(event)
            self._kinds[event.kind] += 1
            if event.kind == "user" and event.variation_id is not None:
                self._add_impression(event, event.campaign_ids[0], event.variation_id)
            for conversion in event.conversions:
                self._add_conversion(event, conversion)

    def _add_impression(self, event: Received, campaign_id: int, variation_id: int) -> None:
        self._visitors.add((event.account, event.visitor))
        shown = self._shown.setdefault((event.account, campaign_id), {})
        variations = shown.setdefault(event.visitor, [])
        if variation_id not in variations:
            variations.append(variation_id)

    def _add_conversion(self, event: Received, conversion: Conversion) -> None:
        self._conversions += 1
        goal = conversion.campaign_id, conversion.goal_id
        # A goal of FullStack is the same one in whatever form it arrives.
        name = event.event_name if conversion.goal_id is None else None
        event_id = event.event_id if conversion.is_repeatable else ""
        self._counted.setdefault(
            (event.account, goal, name, event.visitor, event_id),
            Counted(
                conversion.campaign_id,
                conversion.goal_id,
                event.visitor,
                event.variation_id,
                conversion.revenue,
                event.event_name,
                event.account,
            ),
        )
