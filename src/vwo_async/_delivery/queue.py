"""The event queue: a synchronous machine that is told the time and returns what to send.

It owns every accepted event until its end and keeps the ledger. It never waits, sends or logs, so all
of it can be tested by telling it what happened and when.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from typing import Literal

from .._result import DeliveryStatus, Outcome
from .answer import Answer, Verdict, judge, read_retry_after
from .circuit_breaker import CircuitBreaker
from .event import Event
from .request import Request

# What a batch may owe to one bad event in it.
_DIVISIBLE = frozenset({Verdict.INVALID, Verdict.TOO_LARGE, Verdict.UNSENDABLE})


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of a queue.

    Attributes:
        max_events: Events that may be pending.
        max_bytes: Their approximate size together.
        max_batch_events: Events in one request.
        max_batch_bytes: Their approximate size together.
        max_attempts: Requests made for an event before it is dropped as ``expired``.
        max_age_s: Age at which an event is dropped as ``expired`` instead of sent again.
        backoff_base_s: Shortest wait before a retry; the random wait is at most twice, then four times
            that, and so on.
        backoff_cap_s: Longest wait that is not asked for by the server.
        coalesces: Whether events that wait together leave together.
        linger_s: How long an event waits for others to leave with while a request is on its way; with
            none on its way it leaves at once.
        on_unknown: What becomes of an event whose request may have arrived although no answer came:
            ``retry`` sends it again, ``drop`` gives it up. VWO counts a conversion once per visitor
            however often it arrives, but a goal with mca -1 and a custom dimension each time.
    """

    max_events: int = 10_000
    max_bytes: int = 16_000_000
    max_batch_events: int = 500
    max_batch_bytes: int = 500_000
    max_attempts: int = 50
    max_age_s: float = 86_400.0
    backoff_base_s: float = 0.5
    backoff_cap_s: float = 60.0
    coalesces: bool = True
    linger_s: float = 0.002
    on_unknown: Literal["retry", "drop"] = "retry"


@dataclass(frozen=True, slots=True)
class Batching:
    """Holds events back until there are enough of them or the first has waited long enough.

    Attributes:
        events: How many leave together, 1..5000.
        interval_s: How long the first waits at most.
    """

    events: int = 100
    interval_s: float = 600.0


class Batch:
    """The events of one request; a retry sends the same batch again."""

    __slots__ = ("attempts", "events")

    def __init__(self, events: Sequence[Event], attempts: int = 0) -> None:
        self.events = events
        self.attempts = attempts

    def render(self) -> Request:
        """Return the request: the event's own form where it is alone, else the batch form."""
        first = self.events[0]
        if len(self.events) == 1 and not first.is_batch_only:
            return first.render()
        return first.account.render_batch([event.render_item() for event in self.events])


class Queue:
    """Bounded; events end as delivered, rejected or dropped, and until then are pending.

    Args:
        limits: The bounds.
        draw: Returns random numbers in [0, 1), for the jitter of retries.
        batching: Holds events back; None lets them go at once.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        draw: Callable[[], float] = random.random,
        *,
        batching: Batching | None = None,
    ) -> None:
        self._limits = limits or Limits()
        self._batching = batching
        self._max_events, self._max_bytes = self._limits.max_events, self._limits.max_bytes
        self._max_batch_events = batching.events if batching else self._limits.max_batch_events
        # Whoever batches says how many events make a request; a server that finds it too large says so.
        self._max_batch_bytes = self._limits.max_bytes if batching else self._limits.max_batch_bytes
        self._linger_s = self._limits.linger_s if self._limits.coalesces else 0.0
        self._released = 0
        self._draw = draw
        self._breaker = CircuitBreaker()
        # Bundles of events that should share a request, in order of acceptance.
        self._ready: deque[tuple[Event, ...]] = deque()
        self._again: deque[Batch] = deque()
        self._delayed: list[tuple[float, int, Batch]] = []
        self._order = count()
        self._in_flight: set[Batch] = set()
        self._probe: Batch | None = None
        self._expired: list[Event] = []
        self._events = 0
        self._bytes = 0
        self.accepted = 0
        self.delivered = 0
        self.rejected = 0
        self.dropped: Counter[str] = Counter()
        self.refused = 0
        self.requests = 0
        self.unknown = 0
        self.kept = 0

    @property
    def pending(self) -> int:
        """Events that wait or are on their way."""
        return self._events

    @property
    def pending_bytes(self) -> int:
        """Their approximate size."""
        return self._bytes

    def count_held(self) -> int:
        """Count the pending events one by one: the check on `pending` for tests and reports."""
        ready = sum(map(len, self._ready))
        batches = [*self._again, *self._in_flight, *(batch for _, _, batch in self._delayed)]
        return ready + sum(len(batch.events) for batch in batches) + self.kept

    def put(self, events: Sequence[Event], now: float) -> list[Event | None]:
        """Accept *events* to share a request where possible; None for each that there is no room for.

        The newest is refused rather than the oldest dropped: its caller can still be told.
        """
        taken = [event if self.put_one(event, now) else None for event in events]
        if self._batching is None and len(events) > 1:
            # Where batches were asked for they hold a number of events, whatever calls those are from.
            self._join_last(sum(one is not None for one in taken))
        return taken

    def put_one(self, event: Event, now: float) -> bool:
        """Accept *event* alone, see `put`; false where there is no room for it."""
        size = self._bytes + event.size
        if self._events >= self._max_events or size > self._max_bytes:
            self.refused += 1
            return False
        self._events += 1
        self._bytes = size
        self.accepted += 1
        event.at = now
        self._ready.append((event,))
        return True

    def restore(self, event: Event, at: float) -> bool:
        """Accept an event from before this process, accepted at *at* on its clock; false without room."""
        is_accepted = self.put_one(event, at)
        if not is_accepted:
            self.refused -= 1
        return is_accepted

    def _join_last(self, number: int) -> None:
        """Let the last *number* events, put one by one, share requests."""
        bundle = [self._ready.pop()[0] for _ in range(number)]
        bundle.reverse()
        self._ready.extend(self._split(bundle))

    def _split(self, bundle: Sequence[Event]) -> Iterator[tuple[Event, ...]]:
        """Yield *bundle* in parts that each fit a request."""
        part: list[Event] = []
        size = 0
        for event in bundle:
            size += event.size
            if part and (len(part) == self._max_batch_events or size > self._max_batch_bytes):
                yield tuple(part)
                part, size = [], event.size
            part.append(event)
        if part:
            yield tuple(part)

    def release(self) -> list[Event]:
        """Let everything go that is held back, and return all that is pending."""
        batches = [*self._again, *self._in_flight, *(batch for _, _, batch in self._delayed)]
        pending = [event for batch in batches for event in batch.events]
        waiting = [event for bundle in self._ready for event in bundle]
        self._released = len(waiting)
        return pending + waiting

    def take(self, now: float) -> Batch | None:
        """Return the next batch to send, or None where nothing may go now."""
        while self._delayed and self._delayed[0][0] <= now:
            self._drop_old(heappop(self._delayed)[2], now)
        if not self._breaker.admits(now):
            return None
        batch = self._again.popleft() if self._again else self._collect(now)
        if batch is not None:
            self._in_flight.add(batch)
            self._breaker.started()
            if self._breaker.is_open:
                self._probe = batch
            batch.attempts += 1
            self.requests += 1
        return batch

    def _drop_old(self, batch: Batch, now: float) -> None:
        """Let a batch whose wait is over go again, less what has become too old."""
        limit = self._limits.max_age_s
        old = [event for event in batch.events if now - event.at >= limit]
        if old:
            expired = Outcome(DeliveryStatus.DROPPED, "expired", None, batch.attempts)
            self._expired.extend(self._end(Batch(old), expired))
            batch.events = [event for event in batch.events if now - event.at < limit]
        if batch.events:
            self._again.append(batch)

    def pop_expired(self) -> list[Event]:
        """Return the events that ended of age in `take`, for their waiters to be told."""
        expired, self._expired = self._expired, []
        return expired

    def has_waiting(self) -> bool:
        """Tell whether something waits, be it for time to pass or for a worker."""
        return bool(self._again or self._ready)

    def lingers(self, now: float) -> bool:
        """Tell whether what waits does so only for others to leave with."""
        return self._batching is None and bool(self._ready) and not self._is_full(now)

    def _is_full(self, now: float) -> bool:
        """Tell whether what was put may leave: it may be held until it is enough or old enough."""
        full_at = self._full_at()
        return full_at is not None and now >= full_at

    def _full_at(self) -> float | None:
        """Return when what was put may leave, None where nothing was."""
        batching = self._batching
        if not self._ready:
            return None
        if self._released or len(self._ready) >= self._max_batch_events:
            return float("-inf")
        if batching is not None:
            return self._ready[0][0].at + batching.interval_s
        if self._in_flight and self._linger_s and self._ready[0][0].is_batchable:
            return self._ready[0][0].at + self._linger_s
        return float("-inf")

    def next_at(self) -> float | None:
        """Return when `take` will have something that it does not have now, None for never of itself."""
        times = [self._delayed[0][0]] if self._delayed else []
        full_at = self._full_at()
        if full_at is not None:
            times.append(full_at)
        if not self._breaker.is_open:
            return min((time for time in times if time > float("-inf")), default=None)
        probe_at = self._breaker.next_at()
        if self._again:
            times.append(float("-inf"))
        return None if probe_at is None or not times else max(probe_at, min(times))

    def _collect(self, now: float) -> Batch | None:
        if not self._is_full(now):
            return None
        bundle = self._ready.popleft()
        events = list(bundle)
        if (self._limits.coalesces or self._batching) and bundle[0].is_batchable:
            self._add_companions(events)
        self._released = max(self._released - len(events), 0)
        return Batch(events)

    def _add_companions(self, events: list[Event]) -> None:
        """Add the bundles that follow while they can share the request and fit."""
        account = events[0].account
        size = _weigh(events)
        while self._ready:
            bundle = self._ready[0]
            first = bundle[0]
            if first.account is not account or not first.is_batchable:
                return
            size += first.size if len(bundle) == 1 else _weigh(bundle)
            is_full = len(events) + len(bundle) > self._max_batch_events
            if is_full or size > self._max_batch_bytes:
                return
            events.extend(bundle)
            self._ready.popleft()

    def settle(self, batch: Batch, answer: Answer, now: float, wall_now: float) -> list[Event]:
        """Take in the answer to *batch* and return the events that ended, for their waiters to be told.

        Args:
            batch: What `take` returned.
            answer: What came of it.
            now: Monotonic seconds.
            wall_now: Seconds since the epoch, for dates in headers.
        """
        if batch not in self._in_flight:
            # It was abandoned while it was on its way, and its events have ended.
            return []
        self._in_flight.remove(batch)
        # What was sent before the breaker opened says nothing new while it is open.
        counts = batch is self._probe or not self._breaker.is_open
        if batch is self._probe:
            self._probe = None
        verdict = judge(answer)
        if verdict in (Verdict.RETRY, Verdict.UNKNOWN):
            return self._retry(batch, answer, verdict, now, wall_now, counts=counts)
        if verdict is Verdict.PAUSED:
            if counts:
                self._breaker.paused(now)
        elif verdict is not Verdict.UNSENDABLE:
            self._breaker.succeeded()
        elif counts:
            self._breaker.released()
        if verdict is Verdict.DELIVERED:
            delivered = Outcome(DeliveryStatus.DELIVERED, "", answer.status, batch.attempts)
            return self._end(batch, delivered)
        return self._refuse(batch, answer, verdict)

    def _refuse(self, batch: Batch, answer: Answer, verdict: Verdict) -> list[Event]:
        """Halve a refused batch, so that no event suffers for another; end one that stands alone."""
        if verdict in _DIVISIBLE and len(batch.events) > 1:
            half = len(batch.events) // 2
            halves = (batch.events[:half], batch.events[half:])
            self._again.extendleft(Batch(events, batch.attempts) for events in reversed(halves))
            return []
        status, reason = {
            Verdict.TOO_LARGE: (DeliveryStatus.DROPPED, "too_large"),
            Verdict.UNSENDABLE: (DeliveryStatus.DROPPED, "unserializable"),
        }.get(verdict, (DeliveryStatus.REJECTED, "http"))
        return self._end(batch, Outcome(status, reason, answer.status, batch.attempts))

    def _retry(
        self,
        batch: Batch,
        answer: Answer,
        verdict: Verdict,
        now: float,
        wall_now: float,
        *,
        counts: bool,
    ) -> list[Event]:
        wait = self._draw_wait(batch, answer, wall_now)
        if counts:
            self._breaker.failed(now, wait)
        if verdict is Verdict.UNKNOWN:
            self.unknown += 1
        limits = self._limits
        if verdict is Verdict.UNKNOWN and limits.on_unknown == "drop":
            return self._end(
                batch, Outcome(DeliveryStatus.DROPPED, "unknown", None, batch.attempts)
            )
        expired = Outcome(DeliveryStatus.DROPPED, "expired", answer.status, batch.attempts)
        if batch.attempts >= limits.max_attempts:
            return self._end(batch, expired)
        old = [event for event in batch.events if now - event.at >= limits.max_age_s]
        if old:
            batch.events = [event for event in batch.events if now - event.at < limits.max_age_s]
        if batch.events:
            heappush(self._delayed, (now + wait, next(self._order), batch))
        return self._end(Batch(old), expired) if old else []

    def _draw_wait(self, batch: Batch, answer: Answer, wall_now: float) -> float:
        """Return how long to wait before the next try: random, growing, and no less than asked for."""
        base = self._limits.backoff_base_s
        bound: float = min(base * 2.0 ** min(batch.attempts, 30), self._limits.backoff_cap_s)
        wait = base + self._draw() * max(bound - base, 0.0)
        return max(wait, read_retry_after(answer.retry_after, wall_now))

    def _end(self, batch: Batch, outcome: Outcome) -> list[Event]:
        number = len(batch.events)
        self._events -= number
        self._bytes -= _weigh(batch.events)
        if outcome.status is DeliveryStatus.DELIVERED:
            self.delivered += number
        elif outcome.status is DeliveryStatus.REJECTED:
            self.rejected += number
        else:
            self.dropped[outcome.reason] += number
        for event in batch.events:
            event.outcome = outcome
        return list(batch.events)

    def abandon(
        self, reason: str, is_kept: Callable[[Event], bool] = lambda event: False
    ) -> list[Event]:
        """End all that is pending, on its way too, and return it.

        Args:
            reason: Why.
            is_kept: Tells what will live on elsewhere: that stays counted as pending, the rest is dropped.
        """
        batches = [*self._in_flight, *self._again, *(batch for _, _, batch in self._delayed)]
        batches.extend(Batch(bundle) for bundle in self._ready)
        for held in (self._in_flight, self._again, self._delayed, self._ready):
            held.clear()
        ended: list[Event] = []
        for batch in batches:
            kept = [event for event in batch.events if is_kept(event)]
            lost = [event for event in batch.events if event not in kept]
            ended.extend(self._keep(kept, reason, batch.attempts))
            if lost:
                outcome = Outcome(DeliveryStatus.DROPPED, reason, None, batch.attempts)
                ended.extend(self._end(Batch(lost), outcome))
        return ended

    def _keep(self, events: list[Event], reason: str, attempts: int) -> list[Event]:
        self.kept += len(events)
        for event in events:
            event.outcome = Outcome(DeliveryStatus.KEPT, reason, None, attempts)
        return events


def _weigh(events: Sequence[Event]) -> int:
    return sum([event.size for event in events])
