"""Leaving a storage alone that does not answer, until it does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any

from .._cancellation import Ending
from .loop_clock import LoopClock

# How long to wait between two probes of a storage that does not answer.
PROBE_INTERVAL_S = 0.05
# The same where a probe cannot show that the storage is well, as reading shows nothing of writing.
RETRY_INTERVAL_S = 1.0
# There are storages that go on although they were cancelled: so many probes are left behind at most.
MAX_LATE_PROBES = 3

Probe = Callable[[], Coroutine[Any, Any, object]]


class StorageHealth:
    """Whether a storage has stopped answering.

    One that answers other calls while a call waits is only busy. While it is silent, calls do not wait for
    it: a task of its own probes it until it answers.

    Args:
        clock: By which answers and time-outs are ordered.
        timeout_s: How long a probe may take.
        interval_s: How long to wait before each probe.

    Attributes:
        is_stalled: Whether it is not to be waited for.
    """

    __slots__ = (
        "_answered_at",
        "_clock",
        "_interval_s",
        "_late",
        "_listeners",
        "_probing",
        "_timeout_s",
        "is_stalled",
    )

    def __init__(self, clock: LoopClock, timeout_s: float, interval_s: float) -> None:
        self._clock = clock
        self._timeout_s = timeout_s
        self._interval_s = interval_s
        self._answered_at = float("-inf")
        self._listeners: list[Callable[[bool], object]] = []
        self._probing: asyncio.Task[None] | None = None
        self._late: set[asyncio.Task[object]] = set()
        self.is_stalled = False

    def on_change(self, listener: Callable[[bool], object]) -> None:
        """Call *listener* whenever the storage stalls, with True, and when it is back, with False."""
        self._listeners.append(listener)

    def answered(self) -> None:
        """Note an answer."""
        self._answered_at = self._clock.now
        if self.is_stalled:
            self.is_stalled = False
            self._tell()

    def timed_out(self, asked_at: float, probe: Probe) -> None:
        """Note that a call was not answered in time.

        Args:
            asked_at: When it was made, by the clock.
            probe: Makes a call that shows whether the storage answers again.
        """
        if self._answered_at > asked_at or self.is_stalled:
            return
        self.is_stalled = True
        self._tell()
        if self._probing is None or self._probing.done():
            # In a context of its own, since it outlives the call that timed out.
            self._probing = asyncio.get_running_loop().create_task(
                self._probe_on(probe), name="vwo_async storage probe", context=Context()
            )

    def _tell(self) -> None:
        for listener in self._listeners:
            listener(self.is_stalled)

    async def _probe_on(self, probe: Probe) -> None:
        while self.is_stalled:
            await asyncio.sleep(self._interval_s)
            if len(self._late) >= MAX_LATE_PROBES:
                await asyncio.wait(self._late, return_when=asyncio.FIRST_COMPLETED)
            if self.is_stalled and await self._is_answered(probe):
                self.answered()

    async def _is_answered(self, probe: Probe) -> bool:
        """Tell whether a probe is answered, be it with an error, unless so late that it is a time-out too."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        ending: Ending[object] = Ending()
        task = ending.begin(probe())
        try:
            await asyncio.wait((task,), timeout=self._timeout_s)
        finally:
            if not task.done():
                self._late.add(task)
                task.add_done_callback(self._late.discard)
                task.cancel()
        if not task.done() or task.cancelled():
            return False
        return ending.error is None or loop.time() - begun < self._timeout_s / 2

    async def aclose(self, ends_at: float) -> None:
        """End the probing, and wait until *ends_at*, in the seconds of the loop, for probes that go on."""
        if self._probing is not None and not self._probing.done():
            self._probing.cancel()
            await asyncio.wait((self._probing,))
        left_s = ends_at - asyncio.get_running_loop().time()
        if self._late and left_s > 0:
            await asyncio.wait(self._late, timeout=left_s)
