"""The awaiting half of delivery: few workers, owned by the client, that send what the queue gives them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import cast

from .._cancellation import PROCESS_ENDS, is_failure
from .._log import FailureLog, log_error, log_warning
from .._wake import wake_now
from .answer import Answer, Failure, read_given
from .batch import Batch
from .event import Event
from .event_stream import EventStream
from .queue import Queue
from .transport.closing import close_transport, end_tasks
from .transport.fault import describe_fault
from .transport.protocol import Transport
from .worker_task import WorkerTask, ends_with_loop, sending

LOG_INTERVAL_S = 60.0
# The pause before a worker that ended is replaced, so that an error that repeats does not spin.
RESTART_S = 0.1
# A request without an answer for so long makes room for another, so that texts which make a server hang
# do not hold up the rest; together there are at most so many times the usual number on their way.
STUCK_S = 3.0
# The same after a failure of late, where others are answered much faster.
STUCK_EARLY_S = 0.3
STUCK_FACTOR = 8
# A timer that is late by more was held up by the loop or by a process that stood still, as the answers were;
# and so long do they have to be read then.
LATE_S = 0.03
READING_S = 0.25
# How fast the longest time that a request took is forgotten, with each that is delivered.
SLOWNESS_KEPT = 0.95
# The longest of which anything follows; a process may have stood still for hours.
SLOWEST_S = 60.0


def settle_event(event: Event) -> None:
    """Tell who waits for *event*."""
    if event.outcome is not None:
        event.settle(event.outcome)


class Wait:
    """How long the answer to one request is waited for.

    Attributes:
        begun: Since when, in the seconds of the loop.
        held_s: How long of it the loop, or the process, stood still, as far as is known.
        limit: The time-out.
        timer: What ends it, or finds that the request is stuck.
    """

    __slots__ = ("begun", "held_s", "limit", "timer")

    def __init__(self, begun: float) -> None:
        self.begun = begun
        self.held_s = 0.0
        self.limit = asyncio.timeout(None)
        self.timer: asyncio.TimerHandle | None = None

    def call_after(self, seconds: float, callback: Callable[[], object]) -> None:
        """Call *callback* unless the wait ends before; later where answers may have come that nobody has read."""
        loop = asyncio.get_running_loop()
        due = self.begun + seconds

        def call() -> None:
            late_s = loop.time() - due
            if late_s > LATE_S:
                self.held_s = late_s
                self.timer = loop.call_later(READING_S, callback)
            else:
                callback()

        self.timer = loop.call_at(due, call)

    def end(self) -> None:
        """Call nothing any more."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def give_up(self) -> None:
        """Wait no longer."""
        if not self.limit.expired():
            self.limit.reschedule(asyncio.get_running_loop().time())


class Sender:
    """Owns the queue, the transport and the workers.

    Nothing ends a worker but `stop`. One that something else ended is counted, logged and replaced, and
    what it was sending is tried again: at once if it failed; with the next use of the sender if its task
    was cancelled from outside, since that is how a loop ends as well.

    Args:
        queue: What to send.
        transport: How; a stream of events takes the events themselves in place of requests.
        workers: How many requests may be on their way, not counting those that are stuck.
        grace_s: How long a request that is on its way may hold a loop that ends without `stop`.
        settle: Tells who waits for an event that ended.
        on_ended: Called with the events of each request, or of each part of one, that ended.
        on_halted: Called after each request by which VWO is known to be down or to refuse the account.
        clock: Monotonic seconds.
        wall_clock: Seconds since the epoch.

    Attributes:
        is_closed: Whether nothing more is accepted.
    """

    def __init__(
        self,
        queue: Queue,
        transport: Transport | EventStream,
        *,
        workers: int,
        grace_s: float = 0.0,
        settle: Callable[[Event], object] = settle_event,
        on_ended: Callable[[Sequence[Event]], object] | None = None,
        on_halted: Callable[[], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._queue = queue
        self._transport = transport
        takes_events = hasattr(transport, "hand_over")
        self._stream = cast("EventStream", transport) if takes_events else None
        self._size = workers
        self._grace_s = grace_s
        queue.most_stuck = workers * (STUCK_FACTOR - 1)
        # Requests that are stuck, the longest first.
        self._stuck: dict[Batch, Wait] = {}
        self._slowest_s = 0.0
        self._settle = settle
        # When the last of them had to make room; 0 for not of late.
        self._crowded_at = 0.0
        self._on_ended = on_ended
        self._on_halted = on_halted
        self._clock = clock
        self._wall_clock = wall_clock
        self._workers: set[WorkerTask] = set()
        self._is_stopped = False
        self._has_loop_ended = False
        self._idle: deque[asyncio.Future[None]] = deque()
        # Whether an idle worker already waits for the moment at which the waiting events leave.
        self._lingers = False
        self._drained: asyncio.Future[None] | None = None
        self.is_closed = False
        self._restarts = FailureLog("a worker that sends is replaced", logging.ERROR)
        self._quiet_until = float("-inf")

    def start(self) -> None:
        """Start the workers in the running loop."""
        while len(self._workers) < self._wanted:
            worker = WorkerTask(self._work(), asyncio.get_running_loop(), self._grace_s)
            self._workers.add(worker)
            worker.add_done_callback(self._note_end)

    @property
    def _wanted(self) -> int:
        """How many workers there should be: one more for each request that is stuck, and all where many are."""
        stuck, most = self._queue.stuck, self._size * STUCK_FACTOR
        if stuck >= self._size or (self._crowded_at and self._is_crowded()):
            return most
        return min(self._size + stuck, most)

    def _is_crowded(self) -> bool:
        """Tell whether requests had to make room for others of late."""
        if self._clock() - self._crowded_at < STUCK_S:
            return True
        self._crowded_at = 0.0
        return False

    def _note_end(self, worker: WorkerTask) -> None:
        """Let the next use of the sender find that a worker has ended, and replace it.

        Not before: a loop that ends cancels all its tasks, and must find no new ones; unless somebody waits
        there until all is delivered.
        """
        if worker not in self._workers:
            return
        self._workers.discard(worker)
        self._has_loop_ended |= worker.is_to_end
        ended = asyncio.get_running_loop().create_future()
        ended.set_result(None)
        self._idle.append(ended)
        self._lingers = False
        if self._drained is not None and not self._drained.done():
            self._wake()

    @property
    def restarts(self) -> int:
        """How often a worker had to be replaced."""
        return self._restarts.count

    def put(self, events: Sequence[Event]) -> list[Event | None]:
        """Put *events* on the queue; see `Queue.put`. Never waits."""
        taken = self._queue.put(events, self._clock())
        self._wake()
        return taken

    def put_one(self, event: Event, now: float) -> bool:
        """Put *event* on the queue, alone; see `Queue.put_one`. Never waits."""
        is_accepted = self._queue.put_one(event, now)
        if self._idle and not self._lingers:
            self._wake()
        return is_accepted

    def _wake(self) -> None:
        if len(self._workers) < self._wanted and not self._is_stopped:
            # The end of a loop cancels them all, and what is pending may be delivered after that.
            if not self._has_loop_ended:
                for _ in range(self._wanted - len(self._workers)):
                    self._restarts.add("CancelledError ended it")
            self.start()
        while self._idle:
            waiter = self._idle.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    async def _work(self) -> None:
        # A transport may have taken the cancellation of `stop` for a time-out of its own.
        while len(self._workers) <= self._wanted and not self._is_stopped:
            try:
                await self._work_once()
            except BaseException as error:
                if not is_failure(error):
                    raise
                self._restarts.add(f"{type(error).__name__} ended it")
                await asyncio.sleep(RESTART_S)
            if ends_with_loop():
                return
        # It stood in for a request that was stuck, which has ended. Another goes on with what waits.
        if (worker := asyncio.current_task()) is not None:
            self._workers.discard(worker)
        self._wake()

    async def _work_once(self) -> None:
        """Send one request, or wait until there is something to send."""
        batch = self._queue.take(self._clock())
        self._finish(self._queue.pop_given_up())
        if batch is None:
            self._lingers = self._queue.lingers(self._clock())
            await self._sleep()
            return
        self._lingers = False
        if self._queue.has_waiting():
            # Only now, so that what one request can carry does not wake every worker.
            self._wake()
            self._make_room()
        answer = Answer(failure=Failure.UNKNOWN)
        try:
            with sending():
                answer = await self._send_in_time(batch)
        finally:
            # However it ends, the batch is accounted for.
            ended = self._queue.settle(batch, answer, self._clock(), self._wall_clock())
            self._finish(ended)
        if self._on_halted is not None and self._queue.is_halted:
            self._on_halted()
        self._report(answer)
        if self._queue.has_waiting():
            # Writing a request and ending its events can take milliseconds: others have a turn in between.
            await asyncio.sleep(0)

    async def _sleep(self) -> None:
        """Wait for `put`, or for the time at which the queue has something of its own."""
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        self._idle.append(waiter)
        next_at = self._queue.next_at()
        timer = None
        if next_at is not None:
            timer = loop.call_later(max(next_at - self._clock(), 0.0), wake_now, waiter, None)
        try:
            await waiter
        finally:
            if timer is not None:
                timer.cancel()
            if waiter in self._idle:
                self._idle.remove(waiter)

    async def _send_in_time(self, batch: Batch) -> Answer:
        """Send *batch*; let another worker go on meanwhile if it gets stuck.

        What was stuck before, while others were delivered, is not waited for so long again. Where as many
        are stuck as may be, the first of them makes room for the next.
        """
        begun = self._clock()
        is_doubtful = self._queue.is_likely_to_hang(batch)
        patience_s = max(STUCK_S, 2 * self._slowest_s) if is_doubtful else None
        wait = Wait(asyncio.get_running_loop().time())
        relieve = partial(self._relieve, batch, wait)
        try:
            async with wait.limit:
                if patience_s is None:
                    wait.call_after(self._stuck_after_s, relieve)
                else:
                    relieve()
                    wait.call_after(patience_s, wait.give_up)
                answer = await self._send(batch)
        except TimeoutError:
            answer = Answer(failure=Failure.UNKNOWN, fault=TimeoutError())
        finally:
            wait.end()
            is_stuck = self._stuck.pop(batch, None) is not None
            self._queue.stuck = len(self._stuck)
        took_s = min(self._clock() - begun - wait.held_s, SLOWEST_S)
        # One that was not found stuck ended while the process stood still, or just after.
        batch.is_slow = is_stuck and (wait.limit.expired() or took_s >= STUCK_S)
        if answer.status is not None and answer.status < 300:
            self._slowest_s = max(took_s, SLOWNESS_KEPT * self._slowest_s)
        return answer

    @property
    def _stuck_after_s(self) -> float:
        """How long a request takes at least that counts as stuck."""
        if not (self._queue.is_wary or self._queue.stuck):
            return STUCK_S
        return min(max(STUCK_EARLY_S, 3 * self._slowest_s), STUCK_S)

    def _relieve(self, batch: Batch, wait: Wait) -> None:
        """Have another worker go on, since *batch* is stuck, or likely to be."""
        queue = self._queue
        if queue.stuck >= queue.most_stuck:
            self._give_up_first()
        self._stuck[batch] = wait
        queue.note_stuck(batch)
        queue.stuck = len(self._stuck)
        if not self._is_stopped:
            self.start()

    def _make_room(self) -> None:
        """Have a request that is stuck make room, where something waits and there is no other place."""
        is_full = len(self._workers) >= self._size * STUCK_FACTOR and not self._idle
        if is_full and self._stuck and self._queue.has_untried():
            self._crowded_at = self._clock()
            self._give_up_first()

    def _give_up_first(self) -> None:
        """Give up the request that has been stuck for longest, if the server takes others meanwhile."""
        now = asyncio.get_running_loop().time()
        for batch, wait in self._stuck.items():
            limit, may_go_at = wait.limit, wait.begun + self._stuck_after_s
            is_going = (limit.when() or float("inf")) <= max(now, may_go_at)
            if not is_going and self._queue.may_repeat and self._queue.is_owed_to(batch):
                limit.reschedule(max(now, may_go_at))
                return

    async def _send(self, batch: Batch) -> Answer:
        if self._stream is not None:
            return await self._wait_for_answer(self._stream.hand_over(batch.events))
        try:
            request = batch.render()
        except Exception as error:  # noqa: BLE001 - an event that cannot be written ends alone, the worker does not
            log_error("an event cannot be written: %s", type(error).__name__)
            return Answer(failure=Failure.UNSENDABLE)
        try:
            sending = cast("Transport", self._transport).send(request)
        except BaseException as error:
            if not is_failure(error):
                raise
            log_error("the transport raised %s", type(error).__name__)
            return Answer(failure=Failure.UNKNOWN)
        finally:
            # Tools that report what is logged show the locals of each frame.
            del request
        return await self._wait_for_answer(sending)

    async def _wait_for_answer(self, sending: Awaitable[Answer]) -> Answer:
        try:
            answer = await sending
        except BaseException as error:
            if not is_failure(error):
                raise
            if not ends_with_loop():
                log_error("the transport raised %s", type(error).__name__)
            return Answer(failure=Failure.UNKNOWN)
        given = read_given(answer)
        if given is None:
            log_error("the transport returned no Answer")
            return Answer(failure=Failure.UNKNOWN)
        return given

    def _finish(self, ended: Sequence[Event]) -> None:
        for event in ended:
            self._settle(event)
        try:
            if ended and self._on_ended is not None:
                self._on_ended(ended)
        except PROCESS_ENDS:
            raise
        except BaseException as error:  # noqa: BLE001 - nothing may end a worker
            log_error("telling of the end of events raised %s", type(error).__name__)
        if self._queue.pending == self._queue.kept and self._drained is not None:
            wake_now(self._drained, None)

    def _report(self, answer: Answer) -> None:
        """Log a failed request, at most once a minute."""
        if (answer.status is not None and answer.status < 300) or ends_with_loop():
            return
        now = self._clock()
        if now >= self._quiet_until:
            self._quiet_until = now + LOG_INTERVAL_S
            what = f"status {answer.status}"
            if answer.failure is not None:
                is_sent = answer.failure is not Failure.NOT_SENT
                words = describe_fault(answer.fault, is_sent=is_sent)
                what = answer.failure.name.lower() + (words and f", {words}")
            log_warning("VWO did not take events: %s (%d pending)", what, self._queue.pending)

    def release(self) -> Sequence[Event]:
        """Let everything go that is held back, and return all that is pending."""
        pending = self._queue.release()
        self._wake()
        return pending

    async def drain(self, timeout_s: float) -> bool:
        """Wait until nothing is pending, at most *timeout_s*; return whether that was reached."""
        if not self._queue.pending:
            return True
        self.release()
        if self._drained is None or self._drained.done():
            self._drained = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.shield(self._drained)
        except TimeoutError:
            return False
        return True

    def restore(self, event: Event, at: float) -> bool:
        """Accept an event from before this process; see `Queue.restore`."""
        is_accepted = self._queue.restore(event, at)
        self._wake()
        return is_accepted

    def refuse(self) -> None:
        """Accept nothing more."""
        self.is_closed = True

    async def stop(self, is_kept: Callable[[Event], bool] = lambda event: False) -> None:
        """Stop the workers, drop as ``closed`` what is pending and not kept, and close the transport."""
        self.is_closed = self._is_stopped = True
        workers = [*self._workers]
        self._finish(self._queue.abandon("closed", is_kept))
        await end_tasks(workers)
        await close_transport(self._transport)
