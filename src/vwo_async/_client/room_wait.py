"""Waiting for room on the queue: for whoever makes events faster than VWO takes them."""

from __future__ import annotations

import asyncio
from asyncio import get_running_loop
from collections import OrderedDict
from math import inf

from .._delivery.queue import Limits, Queue

# Whoever waits for room leaves some of it to those who cannot wait: the calls of a web service beside a job.
USED_SHARE = 0.9


class RoomWait:
    """Lets those who wait go on in the order in which they came, one in each turn of the loop.

    One at a time, so that what each of them puts on the queue counts before the next goes on.

    Args:
        queue: Where they want room.
        limits: Its bounds.
    """

    __slots__ = ("_is_looking", "_max_bytes", "_max_events", "_queue", "_waiting")

    def __init__(self, queue: Queue, limits: Limits) -> None:
        self._queue = queue
        self._max_events = max(int(limits.max_events * USED_SHARE), 1)
        self._max_bytes = max(int(limits.max_bytes * USED_SHARE), 1)
        # For how many events each wants room.
        self._waiting: OrderedDict[asyncio.Future[bool], int] = OrderedDict()
        self._is_looking = False

    def is_free(self, events: int, others: int = 0, other_bytes: int = 0) -> bool:
        """Tell whether there is room for *events*, and nobody waits for it.

        Args:
            events: How many.
            others: How many are about to be put by others.
            other_bytes: How large these are together.
        """
        return not self._waiting and self._has_room(events, others, other_bytes)

    def _has_room(self, events: int, others: int = 0, other_bytes: int = 0) -> bool:
        """Tell whether there is room; for more than fit at all, whether nothing is on the queue."""
        queue = self._queue
        wanted = min(events, self._max_events)
        return (
            queue.pending + others + wanted <= self._max_events
            and queue.pending_bytes + other_bytes < self._max_bytes
        )

    async def wait_for(self, events: int, timeout_s: float | None) -> bool:
        """Wait for room; false where the time is over, or `end_all` was called, before there was any."""
        if self.is_free(events):
            return True
        loop = get_running_loop()
        future: asyncio.Future[bool] = loop.create_future()
        self._waiting[future] = events
        timer = None
        if timeout_s is not None and timeout_s < inf:
            timer = loop.call_later(timeout_s, _set, future, False)
        try:
            return await future
        finally:
            if timer is not None:
                timer.cancel()
            self._waiting.pop(future, None)
            # Those behind may fit where this one did not.
            self.look()

    def look(self) -> None:
        """Let the first of those who wait go on, once the loop comes round, if there is room by then."""
        if self._waiting and not self._is_looking:
            self._is_looking = True
            get_running_loop().call_soon(self._let_go)

    def _let_go(self) -> None:
        self._is_looking = False
        while self._waiting:
            future, events = next(iter(self._waiting.items()))
            if not future.done():
                if self._has_room(events):
                    self._waiting.popitem(last=False)
                    future.set_result(True)
                return
            self._waiting.popitem(last=False)

    def end_all(self) -> None:
        """Let everybody go: there will be no room any more."""
        for future in self._waiting:
            _set(future, False)


def _set(future: asyncio.Future[bool], value: bool) -> None:
    if not future.done():
        future.set_result(value)
