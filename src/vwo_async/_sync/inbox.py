"""Events on their way from the threads that made them to the loop that delivers them."""

from __future__ import annotations

from collections import deque
from time import monotonic

from .._client.reporter import Reporter
from .._delivery.event import Event
from .._error import ClosedError
from .._result import DeliveryStatus, Outcome
from .loop_thread import LoopThread

# How many events wait here at most, how large one may be, and for how many threads that look at the room at
# the same moment there is room in any case.
MAX_WAITING = 1000
MAX_SIZE = 4096
MAX_THREADS = 200
# After so long a thread asks again for what another has asked for, which may have been interrupted.
ASK_AGAIN_S = 0.05


class Inbox:
    """Takes events from any thread, from a signal handler and from a finalizer, without a lock and without waiting.

    Each step that changes something is one of the interpreter's own, so that nothing which interrupts a
    thread can leave it half done. An event that is taken here counts as accepted: so it is taken only
    where the queue has room for all that may be here.

    Args:
        reporter: Owns the queue.
        thread: Has the loop of the queue.

    Attributes:
        queue: The queue.
    """

    def __init__(self, reporter: Reporter, thread: LoopThread) -> None:
        self._reporter = reporter
        self.queue = reporter.queue
        self._thread = thread
        self._waiting: deque[Event] = deque()
        self._asked_until = 0.0
        self._is_closed = False
        limits = reporter.limits
        self._max_events = limits.max_events - MAX_THREADS
        self._max_bytes = limits.max_bytes - MAX_THREADS * MAX_SIZE

    def __len__(self) -> int:
        return len(self._waiting)

    def has_room(self) -> bool:
        """Tell whether an event may be put, however many other threads ask at the same time."""
        waiting, queue = len(self._waiting), self.queue
        return (
            not self._is_closed
            and waiting < MAX_WAITING
            and waiting + queue.pending < self._max_events
            and waiting * MAX_SIZE + queue.pending_bytes < self._max_bytes
        )

    def has_room_for_job(self, events: int) -> bool:
        """Tell whether whoever waits for room for *events* need not wait, see `Reporter.has_room`."""
        waiting = len(self._waiting)
        return self._reporter.has_room(events, waiting, waiting * MAX_SIZE)

    def put(self, event: Event, now: float) -> None:
        """Accept *event*, of at most `MAX_SIZE` bytes, for which there is room.

        Args:
            event: The event.
            now: In monotonic seconds.

        Raises:
            ClosedError: The client was closed meanwhile, and the event is not accepted.
        """
        self._waiting.append(event)
        if now >= self._asked_until:
            self._asked_until = now + ASK_AGAIN_S
            self._thread.call_soon(self.transfer)
        if self._is_closed:
            self._take_back(event)

    def _take_back(self, event: Event) -> None:
        try:
            self._waiting.remove(event)
        except ValueError:
            # It was found when the client closed, and has been counted.
            return
        raise ClosedError("the client was closed during this call")

    def transfer(self) -> None:
        """Put what waits here on the queue; to be called in the loop."""
        # First, so that whoever puts something from now on asks again.
        self._asked_until = 0.0
        sender, waiting = self._reporter.sender, self._waiting
        now = monotonic()
        while waiting:
            event = waiting.popleft()
            if sender is None or sender.is_closed:
                self._drop(event, "closed")
            elif not sender.put_one(event, now):
                self.queue.refused -= 1
                self._drop(event, "overflow")

    def close(self) -> int:
        """Take nothing more, and drop what has come since the queue was closed; return how much that was."""
        self._is_closed = True
        number = len(self._waiting)
        self.transfer()
        return number

    def _drop(self, event: Event, reason: str) -> None:
        """Keep the books right about an event that was accepted here and finds no place on the queue."""
        self.queue.accepted += 1
        self.queue.dropped[reason] += 1
        event.settle(Outcome(DeliveryStatus.DROPPED, reason))
