"""All received events in order, and the visitors and conversions that count."""

from __future__ import annotations

from collections import deque
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

    Args:
        max_events: How many events are kept, None for all. Where there are more the oldest are forgotten,
            and all but *received*, *by_kind* and *conversions* is about those that are kept.
    """

    def __init__(self, max_events: int | None = None) -> None:
        self._events: deque[Received] = deque(maxlen=max_events)
        self._received = 0
        self._kinds: dict[Kind, int] = {"user": 0, "goal": 0, "push": 0, "sdk": 0}
        self._conversions = 0
        self._index: _Index | None = _Index()

    def __len__(self) -> int:
        return len(self._events)

    def __iter__(self) -> Iterator[Received]:
        return iter(self._events)

    def __getitem__(self, index: int) -> Received:
        return self._events[index]

    def __repr__(self) -> str:
        counts = f"unique_conversions={self.unique_conversions} visitors={self.visitors}"
        return f"<Ledger events={len(self)} {counts}>"

    @property
    def is_whole(self) -> bool:
        """Whether all events are kept that were received."""
        return self._received == len(self._events)

    @property
    def received(self) -> int:
        """How many events were received."""
        return self._received

    @property
    def conversions(self) -> int:
        """How many conversions there are in all events, repetitions included."""
        return self._conversions

    @property
    def visitors(self) -> int:
        """How many visitors were shown a variation of any campaign."""
        return len(self._find_index().visitors)

    @property
    def by_kind(self) -> Mapping[Kind, int]:
        """How many events there are of each kind."""
        return dict(self._kinds)

    @property
    def counted(self) -> tuple[Counted, ...]:
        """The conversions that count, in order of arrival."""
        return tuple(self._find_index().counted.values())

    @property
    def unique_conversions(self) -> int:
        """How many conversions count."""
        return len(self._find_index().counted)

    @property
    def campaigns(self) -> frozenset[CampaignId]:
        """The campaigns of all events, each with its account."""
        index = self._find_index()
        converted = {
            (one.account, one.campaign_id)
            for one in index.counted.values()
            if one.campaign_id is not None
        }
        return frozenset(index.shown) | converted

    def shown(self, account: Account, campaign_id: int) -> Mapping[str, list[int]]:
        """Return the variations of a campaign that each visitor was shown, in order of arrival."""
        return self._find_index().shown.get((account, campaign_id), {})

    def add(self, events: Iterable[Received]) -> None:
        """Add events at the end."""
        for event in events:
            self._events.append(event)
            self._received += 1
            self._kinds[event.kind] += 1
            self._conversions += len(event.conversions)
            if self._index is not None:
                self._index.add(event)
        if not self.is_whole:
            self._index = None

    def resume(self, received: int, by_kind: Mapping[Kind, int], conversions: int) -> None:
        """Go on where another ledger ended, without its events."""
        self._received, self._conversions = received, conversions
        self._kinds.update(by_kind)
        if not self.is_whole:
            self._index = None

    def _find_index(self) -> _Index:
        if self._index is not None:
            return self._index
        index = _Index()
        for event in self._events:
            index.add(event)
        return index


class _Index:
    """What the events of a ledger say: who was shown what, and which conversions count."""

    def __init__(self) -> None:
        self.counted: dict[tuple[object, ...], Counted] = {}
        self.shown: dict[CampaignId, dict[str, list[int]]] = {}
        self.visitors: set[tuple[Account, str]] = set()

    def add(self, event: Received) -> None:
        if event.kind == "user" and event.variation_id is not None:
            self._add_impression(event, event.campaign_ids[0], event.variation_id)
        for conversion in event.conversions:
            self._add_conversion(event, conversion)

    def _add_impression(self, event: Received, campaign_id: int, variation_id: int) -> None:
        self.visitors.add((event.account, event.visitor))
        shown = self.shown.setdefault((event.account, campaign_id), {})
        variations = shown.setdefault(event.visitor, [])
        if variation_id not in variations:
            variations.append(variation_id)

    def _add_conversion(self, event: Received, conversion: Conversion) -> None:
        goal = conversion.campaign_id, conversion.goal_id
        # A goal of FullStack is the same one in whatever form it arrives.
        name = event.event_name if conversion.goal_id is None else None
        event_id = event.event_id if conversion.is_repeatable else ""
        self.counted.setdefault(
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
