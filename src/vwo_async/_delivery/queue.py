"""The event queue: a synchronous machine that is told the time and returns what to send.

It owns every accepted event until its end and keeps the ledger. It never waits, sends or logs, so all
of it can be tested by telling it what happened and when.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from heapq import heappop, heappush
from itertools import count
from typing import Literal

from .._result import DeliveryStatus, Outcome
from .answer import Answer, Failure, Verdict, judge, read_retry_after
from .batch import STRIKES_TO_DIVIDE, Batch
from .batch_size import BatchSize
from .blame import VISITORS_TO_PAUSE, Blame
from .circuit_breaker import CircuitBreaker
from .event import Event

# An event at fault itself waits at most this part of its age, where that is more than the cap.
TRIES_IN_AGE = 20


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of a queue.

    Attributes:
        max_events: Events that may be pending.
        max_bytes: Their approximate size together.
        max_batch_events: Events in one request.
        max_batch_bytes: Their approximate size together.
        max_attempts: Requests made for an event before it is dropped as ``expired``; None, the default,
            for as many as fit into *max_age_s*.
        max_age_s: Age at which an event is dropped as ``expired`` instead of sent again.
        backoff_base_s: Shortest wait before a retry; the random wait is at most twice, then four times
            that, and so on.
        backoff_cap_s: Longest wait that is not asked for by the server; an event that fails while others
            do not may wait a twentieth of its age.
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
    max_attempts: int | None = None
    max_age_s: float = 86_400.0
    backoff_base_s: float = 0.5
    backoff_cap_s: float = 60.0
    coalesces: bool = True
    linger_s: float = field(default=0.002, metadata={"may_be_zero": True})
    on_unknown: Literal["retry", "drop"] = field(
        default="retry", metadata={"choices": ("retry", "drop")}
    )


@dataclass(frozen=True, slots=True)
class Batching:
    """Holds events back until there are enough of them or the first has waited long enough.

    Attributes:
        events: How many leave together, 1..5000.
        interval_s: How long the first waits at most.
    """

    events: int = 100
    interval_s: float = 600.0


class Queue:
    """Bounded; events end as delivered, rejected or dropped, and until then are pending.

    Args:
        limits: The bounds.
        draw: Returns random numbers in [0, 1), for the jitter of retries.
        batching: Holds events back; None lets them go at once.
        takes_all: Whether any events of an account may leave together, also those without a batch form.

    Attributes:
        stuck: How many requests have been on their way for unusually long, or are likely to be, by the sender.
        most_stuck: How many of these there may be.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        draw: Callable[[], float] = random.random,
        *,
        batching: Batching | None = None,
        takes_all: bool = False,
    ) -> None:
        self._takes_all = takes_all
        self._limits = limits or Limits()
        self._batching = batching
        self._max_events, self._max_bytes = self._limits.max_events, self._limits.max_bytes
        self._max_batch_events = batching.events if batching else self._limits.max_batch_events
        # How many new events leave together at present.
        self._batch_size = BatchSize(self._max_batch_events)
        # Whoever batches says how many events make a request; a server that finds it too large says so.
        self._max_batch_bytes = self._limits.max_bytes if batching else self._limits.max_batch_bytes
        self._linger_s = self._limits.linger_s if self._limits.coalesces else 0.0
        self._released = 0
        self._draw = draw
        self._breaker = CircuitBreaker()
        self._blame = Blame()
        # Bundles of events that should share a request, in order of acceptance.
        self._ready: deque[tuple[Event, ...]] = deque()
        self._again: deque[Batch] = deque()
        # Of what is due again, events alone that are at fault themselves: they come after all else, those
        # with the fewest tries first.
        self._suspects: list[tuple[int, int, Batch]] = []
        self._delayed: list[tuple[float, int, Batch]] = []
        self._order = count()
        self._in_flight: set[Batch] = set()
        self._probe: Batch | None = None
        # Whether the last request was one that had failed before, and whether it took the newest events.
        self._took_again = self._took_newest = False
        self.stuck, self.most_stuck = 0, 1
        # How many events that hang alone may be on their way.
        self._places_at_fault = 1
        # Events alone that fail while others are delivered, as long as they wait: the oldest first.
        self._culprits: dict[Batch, None] = {}
        self._given_up: list[Event] = []
        self._events = 0
        self._bytes = 0
        self.accepted = 0
        self.delivered = 0
        self.rejected = 0
        self.dropped: Counter[str] = Counter()
        self.refused = 0
        self.requests = self.retries = 0
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

    @property
    def is_halted(self) -> bool:
        """Whether VWO is known to be down or to refuse the account, so that only probes go."""
        return self._breaker.is_open

    def may_go(self, now: float) -> bool:
        """Tell whether a request may go now, be it a probe."""
        return self._breaker.admits(now)

    def _list_batches(self) -> list[Batch]:
        """Return the batches that are on their way, or were."""
        waiting = (batch for _, _, batch in (*self._suspects, *self._delayed))
        return [*self._in_flight, *self._again, *waiting]

    def put(self, events: Sequence[Event], now: float) -> list[Event | None]:
        """Accept *events* to share a request where possible; None for each that there is no room for.

        The newest is refused rather than the oldest dropped: its caller can still be told. Only what the
        server fails on while it takes others makes room.
        """
        taken = [event if self.put_one(event, now) else None for event in events]
        if self._batching is None and len(events) > 1 and self._is_batchable(events[0]):
            # Where batches were asked for they hold a number of events, whatever calls those are from.
            self._join_last(sum(one is not None for one in taken))
        return taken

    def put_one(self, event: Event, now: float) -> bool:
        """Accept *event* alone, see `put`; false where there is no room for it."""
        if (
            self._events >= self._max_events or self._bytes + event.size > self._max_bytes
        ) and not self._make_room(event.size):
            self.refused += 1
            return False
        self._events += 1
        self._bytes += event.size
        self.accepted += 1
        event.at = now
        self._ready.append((event,))
        return True

    def _make_room(self, size: int) -> bool:
        """Give up events that the server fails on while it takes others, if *size* bytes fit then."""
        excess_bytes = self._bytes + size - self._max_bytes
        excess_events = self._events + 1 - self._max_events
        found = []
        for batch in self._culprits:
            if excess_bytes <= 0 and excess_events <= 0:
                break
            found.append(batch)
            excess_bytes -= batch.events[0].size
            excess_events -= 1
        if excess_bytes > 0 or excess_events > 0:
            return False
        for batch in found:
            del self._culprits[batch]
            overflow = Outcome(DeliveryStatus.DROPPED, "overflow", None, batch.attempts)
            self._given_up.extend(self._end(batch, overflow))
            batch.events = ()
        return True

    def restore(self, event: Event, at: float) -> bool:
        """Accept an event from before this process, accepted at *at* on its clock; false without room.

        One that would not fit into an empty queue ends at once, or it would be in the way of all behind it.
        """
        if event.size > self._max_bytes:
            self._events += 1
            self._bytes += event.size
            self.accepted += 1
            event.at = at
            self._given_up += self._end(
                Batch([event]), Outcome(DeliveryStatus.DROPPED, "too_large")
            )
            return True
        is_accepted = self.put_one(event, at)
        if not is_accepted:
            self.refused -= 1
        return is_accepted

    def _join_last(self, number: int) -> None:
        """Let the last *number* events, put one by one, share requests."""
        bundle = [self._ready.pop()[0] for _ in range(number)]
        bundle.reverse()
        size = sum([event.size for event in bundle])
        if number <= self._max_batch_events and size <= self._max_batch_bytes:
            if bundle:
                self._ready.append(tuple(bundle))
        else:
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
        self._released = sum(map(len, self._ready))
        return self.list_pending()

    def list_pending(self) -> list[Event]:
        """Return all that is pending, on its way or waiting."""
        tried = [event for batch in self._list_batches() for event in batch.events]
        return tried + [event for bundle in self._ready for event in bundle]

    def take(self, now: float) -> Batch | None:
        """Return the next batch to send, or None where nothing may go now."""
        while self._delayed and self._delayed[0][0] <= now:
            batch = heappop(self._delayed)[2]
            if batch.is_at_fault:
                heappush(self._suspects, (batch.attempts, next(self._order), batch))
            else:
                self._again.append(batch)
        breaker = self._breaker
        if not breaker.is_open:
            found = self._find_next(now)
        elif breaker.admits(now):
            found = self._probe = self._find_probe(now)
            if found is not None:
                breaker.started()
        else:
            return None
        if found is not None:
            self._in_flight.add(found)
            self.retries += found.attempts > 0
            found.attempts += 1
            found.delivered_at_take = self.delivered
            if found.attempts == 1:
                found.delivered_at_failure = self.delivered
            self.requests += 1
        return found

    def is_owed_to(self, batch: Batch) -> bool:
        """Tell whether the server takes others while *batch* is on its way and has no answer."""
        return self.delivered > batch.delivered_at_take

    def note_stuck(self, batch: Batch) -> None:
        """Let fewer new events share a request, since *batch* has no answer."""
        if batch.attempts == 1 and not batch.is_alone:
            self._batch_size.failed(len(batch.events))

    def is_likely_to_hang(self, batch: Batch) -> bool:
        """Tell whether the last try of *batch* took long, while the server took others."""
        return batch.is_slow and self.delivered > batch.delivered_before

    @property
    def is_wary(self) -> bool:
        """Whether a request failed or was refused of late."""
        return self._blame.is_wary

    @property
    def may_repeat(self) -> bool:
        """Whether what may have arrived is sent again."""
        return self._limits.on_unknown == "retry"

    def _find_next(self, now: float) -> Batch | None:
        """Return a batch that was tried before or new events, in turn where there are both.

        What failed or was refused goes one at a time then, unless it is likely to hang and has a place of
        its own: however much of it there is, and however slow the server is with it, new events go.
        """
        is_new_due = self._is_due(now)
        is_again = self._is_again_due(is_new_due=is_new_due)
        batch = self._find_retry(now) if is_again else None
        self._took_again = batch is not None
        return batch or (self._collect() if is_new_due else None)

    def _is_again_due(self, *, is_new_due: bool) -> bool:
        """Tell whether something may go that was tried before."""
        first = self._first_again
        if first is None or (is_new_due and self._took_again):
            return False
        if first.is_slow:
            return self._has_place_for(first)
        return not is_new_due or not any(
            one.attempts > 1 and not one.is_slow for one in self._in_flight
        )

    @property
    def _first_again(self) -> Batch | None:
        """What is due again and comes first."""
        if self._again:
            return self._again[0]
        return self._suspects[0][2] if self._suspects else None

    def _has_place_for(self, batch: Batch) -> bool:
        """Tell whether a *batch* that took long before may take a place for as long again.

        Half of the places is for those of which nobody knows yet. Events that hang alone have one together,
        and more only while they are delivered after all, so that nobody waits for them.
        """
        slow = [one for one in self._in_flight if one.is_slow]
        if batch.is_at_fault and sum(one.is_at_fault for one in slow) >= self._places_at_fault:
            return False
        return len(slow) < max(self.most_stuck // 2, 1)

    def _note_retried(self, batch: Batch, *, is_delivered: bool) -> None:
        """Learn from what became of *batch* whether events that hung alone are at fault indeed."""
        if batch.is_at_fault:
            places = self._places_at_fault
            self._places_at_fault = places + 1 if is_delivered else max(places // 2, 1)

    def _find_probe(self, now: float) -> Batch | None:
        """Return one event to try the server with: the newest, rather one that was not tried alone.

        What came together with the events that failed may be of their kind; the newest is the least likely to.
        """
        if self._is_due(now):
            bundle = self._ready.pop()
            if len(bundle) > 1:
                self._ready.append(bundle[:-1])
            self._released = max(self._released - 1, 0)
            return Batch(bundle[-1:])
        again = self._again
        if again:
            best = max(range(len(again)), key=lambda place: (again[place].rank_as_probe(), place))
            again.rotate(-best)
        batch = self._pop_again(now)
        if batch is None or batch.is_alone:
            return batch
        again.append(batch)
        return batch.pop_last()

    def _find_retry(self, now: float) -> Batch | None:
        """Return a batch whose wait is over, joined with others that are under no suspicion either."""
        batch = self._pop_again(now)
        if batch is None or not self._again or not self._limits.coalesces:
            return batch
        size, number = _weigh(batch.events), len(batch.events)
        others = []
        while self._again and batch.can_join(self._again[0]):
            size += _weigh(self._again[0].events)
            number += len(self._again[0].events)
            if number > self._max_batch_events or size > self._max_batch_bytes:
                break
            others.append(self._drop_old(self._again.popleft(), now))
        if others:
            batch.join(others)
        return batch

    def _pop_again(self, now: float) -> Batch | None:
        """Return the first batch whose wait is over, less what has become too old."""
        while self._again or self._suspects:
            first = self._again.popleft() if self._again else heappop(self._suspects)[2]
            batch = self._drop_old(first, now)
            self._culprits.pop(batch, None)
            if batch.events:
                return batch
        return None

    def _drop_old(self, batch: Batch, now: float) -> Batch:
        """Return *batch* less what has become too old."""
        old = self._find_old(batch, now)
        if old:
            self._given_up.extend(self._expire(batch, old, None))
        return batch

    def _find_old(self, batch: Batch, now: float) -> list[Event]:
        limit = self._limits.max_age_s
        return [event for event in batch.events if now - event.at >= limit]

    def _expire(self, batch: Batch, old: Sequence[Event], status: int | None) -> list[Event]:
        """End the *old* events of *batch*."""
        ended = set(old)
        batch.events = [event for event in batch.events if event not in ended]
        expired = Outcome(DeliveryStatus.DROPPED, "expired", status, batch.attempts)
        return self._end(Batch(old), expired)

    def pop_given_up(self) -> list[Event]:
        """Return the events that ended outside `settle`, for their waiters to be told."""
        given_up, self._given_up = self._given_up, []
        return given_up

    def has_waiting(self) -> bool:
        """Tell whether something waits, be it for time to pass or for a worker."""
        return bool(self._again or self._suspects or self._ready)

    def has_untried(self) -> bool:
        """Tell whether something waits for a worker that is not known to be at fault itself."""
        return bool(self._again or self._ready)

    def lingers(self, now: float) -> bool:
        """Tell whether what waits does so only for others to leave with."""
        return self._batching is None and bool(self._ready) and not self._is_due(now)

    def _is_due(self, now: float) -> bool:
        """Tell whether what was put may leave: it may be held until it is enough or old enough."""
        due_at = self._due_at()
        return due_at is not None and now >= due_at

    def _due_at(self) -> float | None:
        """Return when what was put may leave, None where nothing was."""
        batching = self._batching
        if not self._ready:
            return None
        if self._released or len(self._ready) >= self._max_batch_events:
            return float("-inf")
        if batching is not None:
            return self._ready[0][0].at + batching.interval_s
        if self._in_flight and self._linger_s and self._is_batchable(self._ready[0][0]):
            return self._ready[0][0].at + self._linger_s
        return float("-inf")

    def next_at(self) -> float | None:
        """Return when `take` will have something new; None if only a new event or an answer can change that."""
        times = [self._delayed[0][0]] if self._delayed else []
        due_at = self._due_at()
        if due_at is not None:
            times.append(due_at)
        if not self._breaker.is_open:
            return min((time for time in times if time > float("-inf")), default=None)
        probe_at = self._breaker.next_at()
        if self._again or self._suspects:
            times.append(float("-inf"))
        return None if probe_at is None or not times else max(probe_at, min(times))

    def _collect(self) -> Batch:
        """Return the events that have waited longest; after a failure, in turn with the newest.

        Those that came together may be of one kind. So the others neither wait behind them nor are taken
        for a server that is down, or that refuses the account. While requests are stuck the newest go.
        """
        self._took_newest = self.stuck > 0 or (self._blame.is_wary and not self._took_newest)
        pop = self._ready.pop if self._took_newest else self._ready.popleft
        events = list(pop())
        if (self._limits.coalesces or self._batching) and self._is_batchable(events[0]):
            self._add_companions(events, pop)
        self._released = max(self._released - len(events), 0)
        return Batch(events)

    def _add_companions(self, events: list[Event], pop: Callable[[], tuple[Event, ...]]) -> None:
        """Add the bundles that *pop* takes next while they can share the request and fit."""
        account = events[0].account
        size = _weigh(events)
        end = -1 if self._took_newest else 0
        while self._ready:
            bundle = self._ready[end]
            first = bundle[0]
            if first.account is not account or not self._is_batchable(first):
                return
            size += first.size if len(bundle) == 1 else _weigh(bundle)
            is_full = len(events) + len(bundle) > self._batch_size.now
            if is_full or size > self._max_batch_bytes:
                return
            events.extend(bundle)
            pop()

    def _is_batchable(self, event: Event) -> bool:
        """Tell whether *event* may leave with others."""
        return self._takes_all or event.is_batchable

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
        self._note_company(batch, answer, verdict)
        if verdict in (Verdict.RETRY, Verdict.UNKNOWN):
            return self._retry(batch, answer, verdict, now, wall_now, counts=counts)
        was_halted = self.is_halted
        self._note_answer(batch, verdict, now, counts=counts)
        if verdict is Verdict.DELIVERED:
            self._note_retried(batch, is_delivered=True)
            delivered = Outcome(DeliveryStatus.DELIVERED, "", answer.status, batch.attempts)
            return self._end(batch, delivered)
        if verdict in VISITORS_TO_PAUSE and was_halted and self.is_halted:
            # While everything is refused, this says nothing of the event.
            return self._put_back(batch, answer, now, partial(self._find_wait, self._draw(), 0.0))
        return self._refuse(batch, answer, verdict)

    def _note_company(self, batch: Batch, answer: Answer, verdict: Verdict) -> None:
        """Learn from what became of *batch* how many events should share a request, and who fails."""
        size = self._batch_size
        if verdict is Verdict.DELIVERED:
            if batch.attempts == 1:
                size.delivered()
            elif batch.origin is None:
                size.recovered()
                self._breaker.recovered()
        elif batch.attempts == 1 and answer.failure is not Failure.NOT_SENT and not batch.is_alone:
            size.failed(len(batch.events))

    def _note_answer(self, batch: Batch, verdict: Verdict, now: float, *, counts: bool) -> None:
        """Have the breaker learn of an answer that ends a request."""
        if verdict is Verdict.DELIVERED:
            self._blame.delivered()
            self._breaker.succeeded()
        elif not counts:
            return
        elif verdict is Verdict.UNSENDABLE:
            self._breaker.released()
        elif self._blame.is_account_refused(batch, verdict):
            self._breaker.paused(now)
        else:
            self._blame.answered()
            self._breaker.succeeded()

    def _refuse(self, batch: Batch, answer: Answer, verdict: Verdict) -> list[Event]:
        """Halve a refused batch, so that no event suffers for another; end one that stands alone."""
        if not batch.is_alone:
            self._again.extendleft(reversed(batch.divide()))
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
        """Have a failed batch tried again, unless it may have arrived and must not be sent twice."""
        find_wait = partial(
            self._find_wait, self._draw(), read_retry_after(answer.retry_after, wall_now)
        )
        self._note_failure(batch, answer, now, find_wait, counts=counts)
        if verdict is Verdict.UNKNOWN:
            self.unknown += 1
            if self._limits.on_unknown == "drop":
                dropped = Outcome(DeliveryStatus.DROPPED, "unknown", None, batch.attempts)
                return self._end(batch, dropped)
        return self._put_back(batch, answer, now, find_wait)

    def _put_back(
        self, batch: Batch, answer: Answer, now: float, find_wait: Callable[..., float]
    ) -> list[Event]:
        """Let *batch*, or its halves, wait for another try, and end what may not be tried again."""
        limit = self._limits.max_attempts
        is_spent = limit is not None and batch.attempts >= limit
        old = self._find_old(batch, now)
        if is_spent and batch.is_alone:
            old = list(batch.events)
        ended = self._expire(batch, old, answer.status) if old else []
        if len(batch.events) > 1 and (batch.is_suspect or is_spent):
            # A server that takes others meanwhile asks nobody but the bad event to wait for long.
            is_free = self.delivered > batch.delivered_before
            for part in batch.divide():
                self._delay(part, now, partial(find_wait, is_free=is_free))
        elif batch.events:
            self._delay(batch, now, find_wait)
        return ended

    def _delay(self, batch: Batch, now: float, find_wait: Callable[..., float]) -> None:
        """Let *batch* wait for its next try."""
        age_s = 0.0
        if batch.is_at_fault:
            age_s = now - batch.events[0].at
            if self.delivered > batch.delivered_before:
                self._culprits[batch] = None
        due_at = now + find_wait(batch.failures, age_s)
        heappush(self._delayed, (due_at, next(self._order), batch))

    def _find_wait(
        self,
        jitter: float,
        least_s: float,
        failures: int,
        age_s: float = 0.0,
        *,
        is_free: bool = False,
    ) -> float:
        """Return how long to wait before the next try: random, growing, and no less than asked for.

        Args:
            jitter: A random number in [0, 1): where the wait is between its bounds.
            least_s: What the server asked for.
            failures: How many tries failed so far.
            age_s: That of an event at fault itself: the older it is, the longer it may wait.
            is_free: Whether it need not wait for as long as was asked for.
        """
        base = self._limits.backoff_base_s
        cap = max(self._limits.backoff_cap_s, age_s / TRIES_IN_AGE)
        bound: float = min(base * 2.0 ** min(failures, 30), cap)
        wait_s = base + jitter * max(bound - base, 0.0)
        return wait_s if is_free else max(wait_s, least_s)

    def _note_failure(
        self,
        batch: Batch,
        answer: Answer,
        now: float,
        find_wait: Callable[..., float],
        *,
        counts: bool,
    ) -> None:
        """Have the breaker learn of a failure, unless it only tells again that one event is at fault."""
        breaker = self._breaker
        is_sent = answer.failure is not Failure.NOT_SENT
        # Where others were taken meanwhile, time that ran out says nothing of the server.
        is_owed = batch.is_slow and self.is_owed_to(batch)
        is_news = not (is_owed or (is_sent and batch.is_at_fault))
        self._note_retried(batch, is_delivered=False)
        if not batch.failures:
            batch.delivered_before = batch.delivered_at_take if is_owed else self.delivered
        batch.failures += 1
        if is_sent and not breaker.is_open:
            self._blame.failed(batch, takes_others=self.delivered > batch.delivered_at_failure)
            if is_owed:
                batch.strikes = STRIKES_TO_DIVIDE
        batch.delivered_at_failure = self.delivered
        if counts and (is_news or breaker.is_open):
            breaker.failed(now, find_wait(breaker.failed_probes + 1))

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
        batches = [*self._list_batches(), *map(Batch, self._ready)]
        for held in (
            self._in_flight,
            self._again,
            self._suspects,
            self._delayed,
            self._ready,
            self._culprits,
        ):
            held.clear()
        ended: list[Event] = []
        for batch in batches:
            kept: list[Event] = []
            lost: list[Event] = []
            for event in batch.events:
                (kept if is_kept(event) else lost).append(event)
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
