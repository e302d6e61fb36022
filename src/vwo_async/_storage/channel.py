"""How requests go to the storage: when, how many at a time, and for how long at most."""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from contextvars import Context, copy_context
from functools import partial
from typing import Any, TypeAlias, TypeVar

from .._cancellation import is_failure, retrieve_error
from .._error import StorageError
from .._plain import is_kind
from ..storage.rounds import StorageRequest
from .health import StorageHealth
from .loop_clock import LoopClock, Timer
from .pending import CLOSED, NOT_ASKED, UNRESPONSIVE, PendingRequest, StorageFailure, describe
from .window import Window

# A round that takes longer does not hold the next one.
STAGGER_S = 0.005
# The shortest time of an answer is forgotten slowly: it is by so much longer with each answer.
FORGOTTEN = 1.01

T = TypeVar("T")
Ask: TypeAlias = Callable[[Sequence[StorageRequest]], Awaitable[Sequence[Any]]]


class Flight:
    """Requests that the storage was asked together, in a task of their own."""

    __slots__ = ("asked_at", "pending", "task", "timer")

    def __init__(self, pending: Sequence[PendingRequest], asked_at: float) -> None:
        self.pending = pending
        self.asked_at = asked_at
        self.task: asyncio.Task[None] | None = None
        self.timer: Timer | None = None


class Channel:
    """Brings requests of one kind, reads or writes, to the storage; see the classes below it.

    Args:
        ask: Asks the storage.
        name: Returns what is called, for the notes.
        clock: The time by which all is limited.
        timeout_s: How long the storage may take.
        health: Knows whether it answers.
        probe: Returns what asks it for a sign of life, given a request that was not answered.
        max_flights: How many tasks may be asking at a time.
        window: How many requests may be under way at a time.
        is_for_reads: Whether callers wait for all that is asked, and can be refused.
        abandon: Has a task end that nobody waits for any more, and looks after it; None to cancel it.
    """

    _waiting: deque[Any]

    def __init__(
        self,
        ask: Ask,
        name: Callable[[Sequence[StorageRequest]], str],
        *,
        clock: LoopClock,
        timeout_s: float,
        health: StorageHealth,
        probe: Callable[[StorageRequest], Coroutine[Any, Any, object]],
        max_flights: int,
        window: Window,
        is_for_reads: bool = False,
        abandon: Callable[[asyncio.Task[None]], object] | None = None,
    ) -> None:
        self._ask = ask
        self._name = name
        self._clock = clock
        self._timeout_s = timeout_s
        self._probe = probe
        self._max_flights = max_flights
        self._window = window
        self._is_for_reads = is_for_reads
        self._abandon_task = abandon
        # Whose outcome is still waited for: one that was given up is not in here.
        self._flights: set[Flight] = set()
        # How many requests these are.
        self._under_way = 0
        self._late: set[asyncio.Task[None]] = set()
        # How long it takes to be answered at least.
        self._least_s = float("inf")
        self._is_leaving = False
        # To which those go on who were answered here, None where that is not known.
        self._next: Channel | None = None
        self._on_landed: Callable[[], object] | None = None
        self.health = health
        health.on_change(self._on_health)

    def lead_to(self, following: Channel) -> None:
        """Let callers who were answered here ask *following* next, and ask for no more than that can take.

        It is of no use to read for callers who are not going to be in time with what they have to write.
        """
        self._next = following
        following._on_landed = self._leave

    @property
    def is_behind(self) -> bool:
        """Whether more wait here than can be asked at a time."""
        return self._window.is_narrow and self.waiting > self._window.size

    @property
    def waiting(self) -> int:
        """How many requests, or calls, wait for their turn."""
        return len(self._waiting)

    @property
    def _has_room(self) -> bool:
        is_open = self._next is None or not self._next.is_behind
        return is_open and self._under_way < self._window.size

    def submit_one(self, request: StorageRequest) -> PendingRequest:
        """Have *request* answered; the outcome is known now or later."""
        raise NotImplementedError

    def submit(self, requests: Sequence[StorageRequest]) -> list[PendingRequest]:
        """Have each of *requests* answered, which belong to one call of the API."""
        raise NotImplementedError

    def _leave(self) -> None:
        """Begin with what waits, as far as may be."""
        if self._is_leaving:
            # A flight may end while it begins, and come here: what began it goes on with the next.
            return
        self._is_leaving = True
        try:
            self._begin_waiting()
        finally:
            self._is_leaving = False

    def _begin_waiting(self) -> None:
        """Do the work of `_leave`, which does not come here again meanwhile."""
        raise NotImplementedError

    def _make_pending(self, request: StorageRequest) -> PendingRequest:
        return PendingRequest(request, self._clock.now)

    def _is_wanted(self, pending: PendingRequest) -> bool:
        """Tell whether what has waited is still to be asked.

        Where the storage cannot do all in time, it is not asked for those who would have hardly any time left,
        but for others who can be served.
        """
        if pending.is_settled:
            return False
        waited_s = self._clock.now - pending.since
        if self._is_for_reads and self._window.is_narrow and waited_s > self._timeout_s / 4:
            pending.settle(NOT_ASKED)
            return False
        return True

    def _take_all(self) -> list[PendingRequest]:
        """Return what waits; it waits no longer."""
        raise NotImplementedError

    def _name_all(self, requests: Sequence[StorageRequest]) -> list[str]:
        """Return for each of *requests*, which were asked together, what was called for it."""
        raise NotImplementedError

    def _begin(self, pending: Sequence[PendingRequest], context: Context) -> None:
        flight = Flight(pending, self._clock.now)
        for one in pending:
            one.has_begun = True
        self._flights.add(flight)
        self._under_way += len(pending)
        task = _begin(self._fly(flight), context)
        flight.task = task
        if not task.done():
            due = flight.asked_at + self._timeout_s
            flight.timer = self._clock.call_at(due, partial(self._expire, flight))

    async def _fly(self, flight: Flight) -> None:
        requests = [one.request for one in flight.pending]
        outcomes: Sequence[Any]
        try:
            # What comes back is of classes that are not ours.
            outcomes = list(await self._ask(requests))
            if len(outcomes) != len(requests):
                raise StorageError("another number of answers than of requests")
        except BaseException as error:
            if not is_failure(error):
                raise
            outcomes = [error] * len(requests)
        self._land(flight, outcomes)

    def _land(self, flight: Flight, outcomes: Sequence[Any]) -> None:
        """Hand each its outcome; one that comes after the time-out is of use as a sign of life alone."""
        if flight not in self._flights:
            self.health.answered()
            return
        self._end(flight)
        failed = [is_kind(one, BaseException) for one in outcomes]
        if any(failed):
            outcomes = [
                StorageFailure(f"{name} {describe(one)}") if is_failed else one
                for one, name, is_failed in zip(
                    outcomes, self._list_names(flight), failed, strict=True
                )
            ]
        for pending, outcome in zip(flight.pending, outcomes, strict=True):
            pending.settle(outcome)
        took_s = self._clock.now - flight.asked_at
        if all(failed) and took_s > self._timeout_s / 2:
            # A storage whose own time-out is shorter than ours stalls all the same.
            self._note_silence(flight)
        else:
            if not any(failed):
                self._size_window(flight, took_s)
            self.health.answered()
        self._leave()

    def _size_window(self, flight: Flight, took_s: float) -> None:
        """Ask the storage less at a time where callers did not wait for its answer, else more again."""
        self._least_s = min(FORGOTTEN * self._least_s, took_s)
        waited_s = took_s - self._least_s
        # A caller may have had little time left, for other reasons than what this storage is asked.
        is_late = any(one.is_late for one in flight.pending)
        if is_late and waited_s > self._timeout_s / 8:
            self._window.note_late(flight.asked_at, self._clock.now)
        else:
            self._window.note_answer(len(flight.pending), took_s, waited_s, self._clock.now)

    def _expire(self, flight: Flight) -> None:
        """Wait no longer: the task is cancelled, and ends when it will."""
        if flight not in self._flights:
            return
        self._abandon(flight)
        for one, name in zip(flight.pending, self._list_names(flight), strict=True):
            one.settle(StorageFailure(f"{name} timed out"))
        self._note_silence(flight)
        self._leave()

    def _abandon(self, flight: Flight) -> None:
        """Let the task go, which may go on for a while all the same."""
        self._end(flight)
        task = flight.task
        if task is None or task.done():
            return
        task.add_done_callback(retrieve_error)
        if self._abandon_task is not None:
            for one in flight.pending:
                one.late_task = task
            self._abandon_task(task)
        else:
            self._late.add(task)
            task.add_done_callback(self._late.discard)
            task.cancel()

    def _end(self, flight: Flight) -> None:
        self._flights.discard(flight)
        self._under_way -= len(flight.pending)
        if self._on_landed is not None and self._window.is_narrow:
            asyncio.get_running_loop().call_soon(self._on_landed)
        if flight.timer is not None:
            flight.timer.cancel()
            # Its callback names the flight: without it all that belongs to a round is freed at once.
            flight.timer = None

    def _list_names(self, flight: Flight) -> list[str]:
        return self._name_all([one.request for one in flight.pending])

    def _note_silence(self, flight: Flight) -> None:
        self._window.note_late(flight.asked_at, self._clock.now)
        request = flight.pending[0].request
        self.health.timed_out(flight.asked_at, partial(self._probe, request))

    def _on_health(self, is_stalled: bool) -> None:
        """Let those go who still wait for their turn when the storage stalls."""
        if is_stalled:
            for one in self._take_all():
                one.settle(UNRESPONSIVE)

    def cut(self) -> None:
        """Wait for nothing any more: who still waits is told so, and tasks are cancelled."""
        for one in self._take_all():
            one.settle(CLOSED)
        for flight in list(self._flights):
            self._abandon(flight)
            for one in flight.pending:
                one.settle(CLOSED)

    async def aclose(self, ends_at: float) -> None:
        """Let what is under way end until *ends_at*, in the seconds of the loop, and cut off the rest."""
        loop = asyncio.get_running_loop()
        while (tasks := self._list_tasks()) and loop.time() < ends_at:
            await asyncio.wait(tasks, timeout=ends_at - loop.time())
        self.cut()
        await self.health.aclose(ends_at)

    def _list_tasks(self) -> list[asyncio.Task[None]]:
        under_way = [one.task for one in self._flights if one.task is not None]
        return [*under_way, *self._late]


class CallChannel(Channel):
    """For storages that are asked by their methods: a task for each call, and some of them wait.

    Args:
        *arguments: As for `Channel`.
        joins: Whether requests that are submitted together are answered by one call.
        **options: As for `Channel`.
    """

    def __init__(self, *arguments: Any, joins: bool, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._joins = joins
        self._waiting: deque[tuple[Sequence[PendingRequest], Context]] = deque()

    @property
    def size(self) -> int:
        """How many calls wait or are under way."""
        return len(self._waiting) + len(self._flights)

    def submit_one(self, request: StorageRequest) -> PendingRequest:
        """Have *request* answered by a call, in the present context."""
        pending = self._make_pending(request)
        self._submit((pending,))
        return pending

    def submit(self, requests: Sequence[StorageRequest]) -> list[PendingRequest]:
        """Have each of *requests* answered, by one call where one can answer them all."""
        if not self._joins:
            return [self.submit_one(one) for one in requests]
        pending = [self._make_pending(one) for one in requests]
        if pending:
            self._submit(pending)
        return pending

    def _submit(self, pending: Sequence[PendingRequest]) -> None:
        # A call that has to wait begins while another ends, and must not run in the context of that one.
        self._waiting.append((pending, copy_context()))
        self._leave()

    def _begin_waiting(self) -> None:
        while self._waiting and self._may_leave():
            pending, context = self._waiting.popleft()
            wanted = [one for one in pending if self._is_wanted(one)]
            if wanted:
                self._begin(wanted, context)

    def _may_leave(self) -> bool:
        return len(self._flights) < self._max_flights and self._has_room

    def _take_all(self) -> list[PendingRequest]:
        waiting, self._waiting = self._waiting, deque()
        return [one for pending, _ in waiting for one in pending]

    def _name_all(self, requests: Sequence[StorageRequest]) -> list[str]:
        return [self._name(requests)] * len(requests)


class RoundChannel(Channel):
    """For storages that take many requests at once: what is asked in one turn of the loop goes together.

    One round is under way at a time, so that the next one has all that came meanwhile. Another leaves beside
    it if it is full, or if the one before takes long: a connection that hangs holds nobody else. As a round
    belongs to no single call, it runs in an empty context.

    Args:
        *arguments: As for `Channel`.
        max_requests: How many requests a round takes.
        **options: As for `Channel`.
    """

    def __init__(self, *arguments: Any, max_requests: int, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._max_requests = max_requests
        self._waiting: deque[PendingRequest] = deque()
        self._left_at = 0.0
        # Whether the last round was of one request, and nothing was asked while it was under way.
        self._was_alone = False
        # Whether this turn of the loop has begun a round that was full, which takes milliseconds to write.
        self._has_filled = False
        self._timer: asyncio.Handle | None = None

    @property
    def size(self) -> int:
        """How many requests wait."""
        return len(self._waiting)

    def submit_one(self, request: StorageRequest) -> PendingRequest:
        """Have *request* answered with the next round."""
        pending = self._make_pending(request)
        self._waiting.append(pending)
        if self._was_alone and not self._flights:
            # It is likely to be alone too, so that waiting for others would gain nothing.
            self._leave()
        else:
            self._leave_soon()
        return pending

    def submit(self, requests: Sequence[StorageRequest]) -> list[PendingRequest]:
        """Have each of *requests* answered with the next round."""
        pending = [self._make_pending(one) for one in requests]
        self._waiting.extend(pending)
        self._leave_soon()
        return pending

    def _leave_soon(self) -> None:
        """Leave with whatever else is asked in this turn of the loop, or while a round is under way."""
        if self._flights:
            self._was_alone = False
        if self._timer is None:
            loop = asyncio.get_running_loop()
            if self._flights:
                self._timer = loop.call_later(STAGGER_S, self._leave_now)
            else:
                self._timer = loop.call_soon(self._leave_now)

    def _leave_now(self) -> None:
        self._timer = None
        self._leave()

    def _begin_waiting(self) -> None:
        waiting = self._waiting
        while waiting and self._may_leave():
            room = self._window.size - self._under_way
            number = min(len(waiting), self._max_requests, room)
            taken = [waiting.popleft() for _ in range(number)]
            pending = [one for one in taken if self._is_wanted(one)]
            if pending:
                self._was_alone = len(pending) == 1 and not waiting
                loop = asyncio.get_running_loop()
                self._left_at = loop.time()
                self._begin(pending, Context())
                if waiting:
                    self._has_filled = True
                    loop.call_soon(self._leave_again)
        if not waiting:
            self._cancel_timer()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(STAGGER_S, self._leave_now)

    def _leave_again(self) -> None:
        """Go on with the next round in another turn of the loop."""
        self._has_filled = False
        self._leave()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _may_leave(self) -> bool:
        if self._has_filled or not self._has_room:
            return False
        if not self._flights:
            return True
        if len(self._flights) >= self._max_flights:
            return False
        is_full = len(self._waiting) >= self._max_requests
        return is_full or asyncio.get_running_loop().time() - self._left_at >= STAGGER_S

    def _take_all(self) -> list[PendingRequest]:
        waiting = list(self._waiting)
        self._waiting.clear()
        self._cancel_timer()
        return waiting

    def _name_all(self, requests: Sequence[StorageRequest]) -> list[str]:
        return [self._name((one,)) for one in requests]


def drop(pending: Iterable[PendingRequest]) -> None:
    """Take back requests that have not left yet: nobody waits for them any more."""
    for one in pending:
        if not one.has_begun:
            one.settle(NOT_ASKED)


def _begin(coroutine: Coroutine[Any, Any, T], context: Context) -> asyncio.Task[T]:
    """Start *coroutine*; a storage that need not wait has then ended without a turn of the loop."""
    loop = asyncio.get_running_loop()
    if sys.version_info >= (3, 12):
        return asyncio.Task(coroutine, loop=loop, context=context, eager_start=True)
    return loop.create_task(coroutine, context=context)
