"""Fairness: the calls of one client must not keep the event loop to themselves.

Ten thousand calls gathered at once would all run in one turn of the loop, and so would as many that wait for
one round of a storage or one commit of the outbox; everything else in the process would stand still meanwhile.
"""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic, thread_time
from typing import Any, TypeVar

# How long calls may go on in one turn of the loop. Nothing else stands still for more than a few milliseconds.
MAX_HOLD_S = 0.004
# How many of those that wait go on in one turn at most, and at least, however long each of them takes.
CALLS_PER_TURN = 100
LEAST_PER_TURN = 25
# So many calls go on before a turn is timed: where calls come one in a turn, most turns need no end of their own.
UNTIMED_CALLS = 8

T = TypeVar("T")


class LoopShare:
    """How long the calls of one client have held the current turn of the loop, and who waits for another.

    Attributes:
        now: When the latest call came in, in monotonic seconds.
        ends_at: When the turn has lasted long enough; 0 where none is timed.
    """

    __slots__ = (
        "_begun_cpu_s",
        "_is_crowded",
        "_left",
        "_per_turn",
        "_untimed",
        "_waiting",
        "ends_at",
        "now",
    )

    def __init__(self) -> None:
        self.ends_at = 0.0
        self.now = 0.0
        # How many more may come before a turn is timed.
        self._untimed = UNTIMED_CALLS
        # With what each is to be woken.
        self._waiting: deque[tuple[asyncio.Future[Any], Any]] = deque()
        # How many may go on in one turn, as the last turns showed, and how many more in this one.
        self._per_turn = self._left = CALLS_PER_TURN
        # Whether this turn had more who wanted to go on than could, and when that began by the thread's own
        # time: what other processes hold is no reason to do less.
        self._is_crowded = False
        self._begun_cpu_s = 0.0

    def enter(self) -> None:
        """Take note of a call that comes while no turn is timed."""
        if self._untimed:
            self._untimed -= 1
            self.now = monotonic()
        else:
            self.begin()

    def has_waiting(self) -> bool:
        """Tell whether calls wait for their turn of the loop."""
        return bool(self._waiting)

    async def next(self) -> None:
        """Wait for a turn of one's own, behind those who wait already."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((waiter, None))
        await waiter
        self.now = monotonic()

    def wake(self, waiter: asyncio.Future[T], result: T) -> None:
        """Set the result of *waiter*, for which one call waits: at once, or in a later turn where many go on."""
        if waiter.done():
            return
        if not self.ends_at:
            self.begin()
        if self._left:
            self._left -= 1
            waiter.set_result(result)
        else:
            self._waiting.append((waiter, result))

    def begin(self) -> None:
        """Begin to time a turn: it lasts until the loop comes round again."""
        self.now = monotonic()
        self.ends_at = self.now + MAX_HOLD_S
        asyncio.get_running_loop().call_soon(self._end)

    def _end(self) -> None:
        """Let the first of those who wait go on in the next turn of the loop, and look again after it."""
        if self._is_crowded:
            self._adapt(thread_time() - self._begun_cpu_s)
        self.ends_at = 0.0
        self._untimed = UNTIMED_CALLS
        self._left = self._per_turn
        self._is_crowded = len(self._waiting) >= self._left
        while self._waiting and self._left:
            self._left -= 1
            waiter, result = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(result)
        if self._waiting:
            self._begun_cpu_s = thread_time()
            self.begin()
        else:
            self._is_crowded = False

    def _adapt(self, took_s: float) -> None:
        """Let as many go on in the next turn as seem to fit, after a full one that took *took_s*."""
        if took_s > MAX_HOLD_S:
            fitting = int(self._per_turn * MAX_HOLD_S / took_s)
            self._per_turn = max(fitting, LEAST_PER_TURN)
        else:
            self._per_turn = min(self._per_turn * 5 // 4, CALLS_PER_TURN)
