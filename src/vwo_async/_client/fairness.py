"""Fairness: a burst of calls that need not wait must not keep the event loop to itself.

Ten thousand calls gathered at once would all run in one turn of the loop, and everything else in the
process would stand still meanwhile.
"""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic

# How long calls may go on in one turn of the loop, and how many of those that wait then follow: a hundred
# busy callers have room in it, and nothing else stands still for more than a few milliseconds.
MAX_HOLD_S = 0.004
CALLS_PER_ROUND = 100


class LoopShare:
    """How long the calls of one client have held the current turn of the loop, and who waits for another.

    Attributes:
        now: When the latest call came in, in monotonic seconds.
        ends_at: When the turn has lasted long enough; 0 where none has begun.
    """

    __slots__ = ("_waiting", "ends_at", "now")

    def __init__(self) -> None:
        self.ends_at = 0.0
        self.now = 0.0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def next(self) -> None:
        """Wait for a turn of one's own, behind those who wait already."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        await waiter
        self.now = monotonic()

    def begin(self) -> None:
        """Begin a turn: it lasts until the loop comes round again."""
        self.now = monotonic()
        self.ends_at = self.now + MAX_HOLD_S
        asyncio.get_running_loop().call_soon(self._end)

    def _end(self) -> None:
        """Let the first of those who wait go on in the next turn of the loop, and look again after it."""
        self.ends_at = 0.0
        for _ in range(min(len(self._waiting), CALLS_PER_ROUND)):
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
        if self._waiting:
            self.begin()
