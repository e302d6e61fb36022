"""The events of one request, and what is held against them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from .event import Event
from .request import Request

STRIKES_TO_DIVIDE = 2
# A batch that a server takes long to fail on is divided into so many, since each try costs seconds.
SLOW_PARTS = 8


class Batch:
    """The events of one request; a retry sends the same batch again, or its halves.

    Attributes:
        events: In the order of the request.
        attempts: How many requests were made for these events; the highest number of any of them where
            events of several batches were joined.
        failures: How many of these failed since the batch was last divided: the next wait grows with them.
        strikes: How many of these failures were owed to what is in the batch, going by other requests.
        delivered_before: How many events were delivered before the first of these failures.
        delivered_at_failure: How many were at the last of them, or when it was first taken.
        delivered_at_take: How many were when it was last taken to be sent.
        is_slow: Whether its last try took unusually long.
        origin: The batch of which this is a part, None where it is whole.
    """

    __slots__ = (
        "attempts",
        "delivered_at_failure",
        "delivered_at_take",
        "delivered_before",
        "events",
        "failures",
        "is_slow",
        "origin",
        "strikes",
    )

    def __init__(self, events: Sequence[Event], attempts: int = 0) -> None:
        self.events = events
        self.attempts = attempts
        self.failures = 0
        self.strikes = 0
        self.delivered_before = self.delivered_at_failure = self.delivered_at_take = 0
        self.is_slow = False
        self.origin: Batch | None = None

    @property
    def is_alone(self) -> bool:
        """Whether it is one event."""
        return len(self.events) == 1

    @property
    def is_suspect(self) -> bool:
        """Whether it failed often enough, while others did not, to be at fault itself."""
        return self.strikes >= STRIKES_TO_DIVIDE

    @property
    def is_at_fault(self) -> bool:
        """Whether it is one event, and at fault itself."""
        return len(self.events) == 1 and self.strikes >= STRIKES_TO_DIVIDE

    def render(self) -> Request:
        """Return the request: the event's own form where it is alone, else the batch form.

        Raises:
            ValueError: No request can hold the event. Only of what others have written, see `restore_event`.
        """
        first = self.events[0]
        if len(self.events) == 1 and not first.is_batch_only:
            request = first.render()
        else:
            request = first.account.render_batch([event.render_item() for event in self.events])
        target = request.target
        if not (target.isascii() and target.isprintable()) or " " in target:
            raise ValueError("the target cannot stand in a request")
        return request

    def divide(self) -> list[Batch]:
        """Return its parts, mostly halves. Those of a suspected batch are divided again when they first fail."""
        number = min(SLOW_PARTS if self.is_slow else 2, len(self.events))
        ends = [len(self.events) * place // number for place in range(number + 1)]
        return [self._make_part(self.events[start:end]) for start, end in pairwise(ends)]

    def _make_part(self, events: Sequence[Event]) -> Batch:
        part = Batch(events, self.attempts)
        part.failures = part.strikes = min(self.strikes, STRIKES_TO_DIVIDE - 1)
        part.delivered_before = self.delivered_before
        part.delivered_at_failure = self.delivered_at_failure
        part.is_slow = self.is_slow
        part.origin = self.origin or self
        return part

    def rank_as_probe(self) -> tuple[bool, float]:
        """Return how well its last event suits as a probe of the server; a higher rank suits better."""
        if len(self.events) > 1:
            return True, self.events[-1].at
        return False, -self.attempts

    def pop_last(self) -> Batch:
        """Take the last event out and return it, to be sent alone."""
        last = Batch(self.events[-1:], self.attempts)
        last.failures, last.strikes, last.origin = self.failures, self.strikes, self.origin
        last.delivered_before, last.is_slow = self.delivered_before, self.is_slow
        last.delivered_at_failure = self.delivered_at_failure
        self.events = self.events[:-1]
        return last

    def can_join(self, other: Batch) -> bool:
        """Tell whether neither is under suspicion, and one request may carry both."""
        if self._stays_apart() or other._stays_apart():
            return False
        first, second = self.events[0], other.events[0]
        return first.is_batchable and second.is_batchable and first.account is second.account

    def _stays_apart(self) -> bool:
        return self.is_suspect or self.origin is not None

    def join(self, others: Sequence[Batch]) -> None:
        """Take in the events of *others*."""
        batches = [self, *others]
        self.events = [event for batch in batches for event in batch.events]
        self.attempts = max(batch.attempts for batch in batches)
        self.failures = max(batch.failures for batch in batches)
        self.strikes = max(batch.strikes for batch in batches)
        self.is_slow = any(batch.is_slow for batch in batches)
        self.delivered_at_failure = max(batch.delivered_at_failure for batch in batches)
