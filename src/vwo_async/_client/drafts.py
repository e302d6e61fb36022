"""Events in the outbox before their conversions are claimed.

A process may be killed at any moment. If a claim came first, the conversion could be claimed for ever and its
event be lost. So the outbox has the event, with the claim that is about to be made, before the storage hears
of it: the next start claims it under the same name, and sends it if it is its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from .._delivery.event import Event
from .._delivery.outbox.claim import Claim
from .._result import Receipt
from .conversion import Conversion
from .reporter import Reporter


class Drafts:
    """The events of one call, from their making until the queue has taken them.

    Args:
        reporter: Keeps them, where there is an outbox.
        make_events: Makes the events of conversions: one for each, or one for all.
    """

    __slots__ = ("_events", "_make_events", "_reporter")

    def __init__(
        self,
        reporter: Reporter,
        make_events: Callable[[Sequence[Conversion]], list[Event]],
    ) -> None:
        self._reporter = reporter
        self._make_events = make_events
        # By campaign key, those that the outbox has.
        self._events: dict[str, Event] = {}

    async def keep(self, conversions: Sequence[Conversion]) -> None:
        """Have the outbox keep the events of *conversions* that are about to be claimed."""
        if not (self._reporter.has_outbox and any(one.owner for one in conversions)):
            return
        events = self._make_events(conversions)
        shared = events * len(conversions) if len(events) == 1 else events
        claims: dict[Event, list[Claim]] = {}
        for one, event in zip(conversions, shared, strict=True):
            claims.setdefault(event, []).append(one.claim)
            self._events[one.campaign.key] = event
        kept = self._reporter.keep_ahead(claims)
        if kept is not None:
            await kept

    async def choose(self, conversions: Sequence[Conversion]) -> list[Event]:
        """Return the events of those *conversions* that were claimed."""
        if not self._events:
            return self._make_events(conversions)
        chosen = {one.campaign.key for one in conversions}
        used = {event for key, event in self._events.items() if key in chosen}
        left = {event for key, event in self._events.items() if key not in chosen}
        if used & left:
            # One event stood for all of them, and some are another call's.
            before, self._events = self._events, {}
            await self.keep(conversions)
            self._reporter.take_back(before.values())
        return list(dict.fromkeys(self._events[one.campaign.key] for one in conversions))

    def is_kept(self, receipt: Receipt | None) -> bool:
        """Tell whether the outbox has that event already."""
        return receipt in self._events.values()

    def take_back(self, accepted: Iterable[Receipt | None]) -> None:
        """Have the outbox let go of the events that the queue did not accept."""
        if self._events:
            done = set(accepted)
            self._reporter.take_back(one for one in self._events.values() if one not in done)
