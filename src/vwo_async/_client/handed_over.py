"""What becomes of events that a stream takes over: who waits until it has them, and how they end at last."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from .._delivery.event import Event
from .._result import DeliveryStatus, Outcome
from .._wake import wake_now

# The end of an event of which no relay tells in time.
_TAKEN = Outcome(DeliveryStatus.DELIVERED, "", 202)


class HandedOver:
    """Keeps the receipts of events in step with a stream.

    Args:
        tells_ends: Whether the stream hears how events end; if not, an event ends when the stream has it.
        timeout_s: How long a call waits until the stream has its events.

    Attributes:
        spilled: Of what waits for the stream, what an outbox has as well: it ends when the stream has it.
    """

    def __init__(self, *, tells_ends: bool, timeout_s: float) -> None:
        self.spilled: set[Event] = set()
        self._tells_ends = tells_ends
        self._timeout_s = timeout_s
        self._waits: dict[Event, _Wait] = {}
        # Taken, with no end yet; and ends that came before it was known that the event was taken.
        self._taken: set[Event] = set()
        self._early: dict[Event, Outcome] = {}

    def wait_for(self, events: Sequence[Event]) -> asyncio.Future[bool]:
        """Return a future: true once the stream has all of *events*, false where that takes too long."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bool] = loop.create_future()
        wait = _Wait(future, len(events))
        for event in events:
            self._waits[event] = wait
        timer = loop.call_later(self._timeout_s, wake_now, future, False)
        future.add_done_callback(lambda _: self._end_wait(timer, events))
        return future

    def _end_wait(self, timer: asyncio.TimerHandle, events: Sequence[Event]) -> None:
        timer.cancel()
        for event in events:
            self._waits.pop(event, None)

    def end_all(self) -> None:
        """Let nobody wait any longer until the stream has an event."""
        for wait in set(self._waits.values()):
            wait.end()

    def settle(self, event: Event) -> None:
        """Tell who waits for *event*, which has left the queue, unless its end is still to come."""
        if event.outcome is not None and not self._is_open(event):
            event.settle(event.outcome)

    def _is_open(self, event: Event) -> bool:
        """Tell whether *event*, which the stream has taken, is to end later."""
        if not self._tells_ends or event in self.spilled or event.outcome is None:
            return False
        return event.outcome.status is DeliveryStatus.DELIVERED

    def note(self, left: Sequence[Event]) -> None:
        """Take note of events that left the queue, after all others have."""
        for event in left:
            wait = self._waits.pop(event, None)
            if wait is not None:
                wait.note(is_taken=bool(event.outcome))
            if self._is_open(event):
                event.outcome = None
                if (early := self._early.pop(event, None)) is not None:
                    event.settle(early)
                else:
                    self._taken.add(event)
        self.spilled.difference_update(left)

    def on_end(self, event: Event, outcome: Outcome | None) -> None:
        """Take in how *event* ended, None where that will not be heard."""
        end = _TAKEN if outcome is None else outcome
        if event in self._taken:
            self._taken.discard(event)
            event.settle(end)
        elif event.outcome is None:
            self._early[event] = end


class _Wait:
    """One call that waits until all of its events are taken."""

    __slots__ = ("_future", "_left")

    def __init__(self, future: asyncio.Future[bool], left: int) -> None:
        self._future = future
        self._left = left

    def end(self) -> None:
        wake_now(self._future, False)

    def note(self, *, is_taken: bool) -> None:
        self._left -= 1
        if not is_taken or not self._left:
            wake_now(self._future, is_taken)
