"""Waiting for room on the queue: for whoever makes events faster than VWO takes them."""

from __future__ import annotations

import asyncio
from asyncio import get_running_loop
from collections import OrderedDict
from math import inf
from typing import Any

from .._delivery.queue import Limits, Queue

# Whoever waits for room leaves some of it to those who cannot wait: the calls of a web service beside a job.
USED_SHARE = 0.9


class RoomWait:
    """Gives room on the queue to tasks, in the order in which they ask for it.

    What a task was given is held for it until it asks again or ends: between asking and putting its event it
    may wait for a storage, or for its turn of the loop, and the next one must not be given the same room.

    Args:
        queue: Where they want room.
        limits: Its bounds.
    """

    __slots__ = (
        "_all_held",
        "_held",
        "_is_looking",
        "_max_bytes",
        "_max_events",
        "_queue",
        "_waiting",
    )

    def __init__(self, queue: Queue, limits: Limits) -> None:
        self._queue = queue
        self._max_events = max(int(limits.max_events * USED_SHARE), 1)
        self._max_bytes = max(int(limits.max_bytes * USED_SHARE), 1)
        self._waiting: OrderedDict[_Waiter, None] = OrderedDict()
        # For how many events there is room held for each task, and for all.
        self._held: dict[asyncio.Task[Any], int] = {}
        self._all_held = 0
        self._is_looking = False

    def is_free(self, events: int, others: int = 0, other_bytes: int = 0) -> bool:
        """Tell whether there is room for *events*, and nobody waits for it.

        Args:
            events: How many.
            others: How many are about to be put by those who hold no room.
            other_bytes: How large these are together.
        """
        return not self._waiting and self._has_room(events, others, other_bytes)

    def _has_room(self, events: int, others: int = 0, other_bytes: int = 0) -> bool:
        """Tell whether there is room; for more than fit at all, whether nothing is on the queue."""
        queue = self._queue
        taken = queue.pending + self._all_held + others
        return (
            taken + min(events, self._max_events) <= self._max_events
            and queue.pending_bytes + other_bytes < self._max_bytes
        )

    async def wait_for(self, events: int, timeout_s: float | None) -> bool:
        """Wait for room; false where the time is over, or `end_all` was called, before there was any."""
        task = asyncio.current_task()
        self._hold(task, 0)
        if self.is_free(events):
            self._hold(task, events)
            return True
        loop = get_running_loop()
        waiter = _Waiter(loop.create_future(), task, events)
        self._waiting[waiter] = None
        self.look()
        timer = None
        if timeout_s is not None and timeout_s < inf:
            timer = loop.call_later(timeout_s, waiter.end, False)
        try:
            return await waiter.future
        finally:
            if timer is not None:
                timer.cancel()
            self._waiting.pop(waiter, None)
            # Those behind may fit where this one did not.
            self.look()

    def _hold(self, task: asyncio.Task[Any] | None, events: int) -> None:
        """Hold room for a task, in place of what was held for it."""
        if task is None:
            return
        if task not in self._held:
            task.add_done_callback(self._release)
        self._all_held += events - self._held.get(task, 0)
        self._held[task] = events

    def _release(self, task: asyncio.Task[Any]) -> None:
        self._all_held -= self._held.pop(task, 0)
        self.look()

    def look(self) -> None:
        """Let those go on for whom there is room once the loop comes round, the first of them first."""
        if self._waiting and not self._is_looking:
            self._is_looking = True
            get_running_loop().call_soon(self._let_go)

    def _let_go(self) -> None:
        self._is_looking = False
        while self._waiting:
            waiter = next(iter(self._waiting))
            if not waiter.future.done():
                if not self._has_room(waiter.events):
                    return
                self._hold(waiter.task, waiter.events)
                waiter.end(True)
            self._waiting.popitem(last=False)

    def end_all(self) -> None:
        """Let everybody go: there will be no room any more."""
        for waiter in self._waiting:
            waiter.end(False)


class _Waiter:
    """Who waits, and for how much."""

    __slots__ = ("events", "future", "task")

    def __init__(
        self, future: asyncio.Future[bool], task: asyncio.Task[Any] | None, events: int
    ) -> None:
        self.future = future
        self.task = task
        self.events = events

    def end(self, has_room: bool) -> None:
        """End the wait, unless it has ended."""
        if not self.future.done():
            self.future.set_result(has_room)
