"""Fairness: a burst of calls that need not wait must not keep the event loop to itself.

Ten thousand calls gathered at once would all run in one turn of the loop, and everything else in the
process would stand still meanwhile.
"""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic

# How long calls may go on in one turn of the loop, and how many of those that wait then follow: some
# hundred calls in all, so that few have to wait, and those for no more than a few milliseconds.
MAX_TURN_S = 0.001
CALLS_PER_TURN = 100


class Turn:
    """How long the calls of one client have held the current turn of the loop, and who waits for another."""

    __slots__ = ("_waiting", "ends_at")

    def __init__(self) -> None:
        # 0 until the first call of a turn begins it.
        self.ends_at = 0.0
        self._waiting: deque[asyncio.Future[None]] = deque()

    def is_over(self) -> bool:
        """Tell whether the calls of this turn, which has begun, have had their time."""
        return monotonic() >= self.ends_at

    async def next(self) -> None:
        """Wait for a turn of one's own, behind those who wait already."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        await waiter

    def begin(self) -> None:
        """Begin a turn: it lasts until the loop comes round again."""
        self.ends_at = monotonic() + MAX_TURN_S
        asyncio.get_running_loop().call_soon(self._end)

    def _end(self) -> None:
        """Let the first of those who wait go on in the next turn of the loop, and look again after it."""
        self.ends_at = 0.0
        for _ in range(min(len(self._waiting), CALLS_PER_TURN)):
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
        if self._waiting:
            self.begin()
