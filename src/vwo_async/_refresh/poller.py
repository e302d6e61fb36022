"""When settings are fetched again: at intervals, and when somebody asks, but never too often."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

from .._log import log_error

JITTER = 0.1
# How long polling waits at most after failures, where its interval is not longer.
MAX_BACK_OFF_S = 600.0
_MAX_DOUBLINGS = 20


class Poller:
    """Runs one refresh at a time, and at most one more after it for all who asked meanwhile.

    Args:
        update: Does one refresh, asked for by VWO's webhook or not; true where it succeeded.
        min_interval_s: Between the beginnings of two refreshes.
        poll_interval_s: Between two refreshes that nobody asked for; None for none.
        clock: Monotonic seconds.
        sleep: Waits for so many seconds.
        draw: Returns a random number between two bounds.
    """

    def __init__(
        self,
        update: Callable[[bool], Awaitable[bool]],
        *,
        min_interval_s: float,
        poll_interval_s: float | None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        draw: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._update = update
        self._min_interval_s = min_interval_s
        self._poll_interval_s = poll_interval_s
        self._clock = clock
        self._sleep = sleep
        self._draw = draw
        self._began_at = float("-inf")
        self._polling: asyncio.Task[None] | None = None
        self._current: asyncio.Task[bool] | None = None
        self._next: asyncio.Task[bool] | None = None
        self._is_webhook = False
        self._is_stopped = False

    def start(self) -> None:
        """Begin to poll, if that is wanted; the first refresh is one interval away."""
        if self._poll_interval_s is not None and not self._is_stopped:
            polling = self._poll(self._poll_interval_s)
            self._polling = asyncio.create_task(polling, name="vwo_async settings poll")

    async def _poll(self, interval_s: float) -> None:
        failures = 0
        while True:
            wait_s = interval_s * 2.0 ** min(failures, _MAX_DOUBLINGS)
            wait_s = min(wait_s, max(interval_s, MAX_BACK_OFF_S))
            await self._sleep(wait_s * self._draw(1 - JITTER, 1 + JITTER))
            try:
                is_fresh = await self.refresh(via_webhook=False)
            except Exception as error:  # noqa: BLE001 - whatever it is, it must not be the last poll
                log_error("a settings poll raised %s", type(error).__name__)
                is_fresh = False
            failures = 0 if is_fresh else failures + 1

    async def refresh(self, *, via_webhook: bool) -> bool:
        """Wait for a refresh that begins after this call; tell whether it succeeded.

        Cancelling the wait does not end the refresh, for which others may wait.
        """
        if self._is_stopped:
            return False
        if self._next is None:
            run = self._run(self._current)
            self._next = asyncio.create_task(run, name="vwo_async settings refresh")
        task = self._next
        self._is_webhook = self._is_webhook or via_webhook
        await asyncio.wait([task])
        return not task.cancelled() and task.result()

    async def _run(self, previous: asyncio.Task[bool] | None) -> bool:
        # Whoever comes until the request begins is served by it too.
        await asyncio.sleep(0)
        if previous is not None:
            await asyncio.wait([previous])
        wait_s = self._began_at + self._min_interval_s - self._clock()
        if wait_s > 0:
            await self._sleep(wait_s)
        self._current, self._next = self._next, None
        is_webhook, self._is_webhook = self._is_webhook, False
        self._began_at = self._clock()
        return await self._update(is_webhook)

    def stop(self) -> None:
        """Refresh no more; what is under way is cancelled, and who waits for it is told that it failed."""
        self._is_stopped = True
        for task in self._tasks():
            task.cancel()

    async def settle(self) -> None:
        """Wait for the end of what `stop` cancelled."""
        await asyncio.gather(*self._tasks(), return_exceptions=True)

    def _tasks(self) -> list[asyncio.Task[Any]]:
        tasks = (self._polling, self._current, self._next)
        return [one for one in tasks if one is not None]
