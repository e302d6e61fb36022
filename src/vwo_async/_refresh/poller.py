"""When settings are refreshed: at intervals, and when somebody asks, but never too often."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

from .._cancellation import is_failure
from .._log import log_error

JITTER = 0.1
# The longest wait between polls after failures, unless the poll interval itself is longer.
MAX_BACK_OFF_S = 600.0
_MAX_DOUBLINGS = 20
# The waits of a client that has no settings yet.
FIRST_WAIT_S = 1.0
MAX_WAIT_S = 30.0


class Poller:
    """Runs one refresh at a time, and at most one more after it for all callers that asked meanwhile.

    Args:
        run_refresh: Does one refresh and tells whether it succeeded; its argument says whether VWO's
            webhook asked for it.
        min_interval_s: The least time between the starts of two refreshes.
        find_interval_s: Returns the time until the next poll; None: no polling.
        clock: Monotonic seconds.
        sleep: Waits for a number of seconds.
        draw: Returns a random number between two bounds.
    """

    def __init__(
        self,
        run_refresh: Callable[[bool], Awaitable[bool]],
        *,
        min_interval_s: float,
        find_interval_s: Callable[[], float] | None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        draw: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._run_refresh = run_refresh
        self._min_interval_s = min_interval_s
        self._find_interval_s = find_interval_s
        self._clock = clock
        self._sleep = sleep
        self._draw = draw
        self._started_at = float("-inf")
        self._polling: asyncio.Task[None] | None = None
        self._current: asyncio.Task[bool] | None = None
        self._next: asyncio.Task[bool] | None = None
        self._via_webhook = False
        self._is_stopped = False

    def start(self, *, lacks_settings: bool = False) -> None:
        """Start polling, if there is a poll interval; the first poll is one interval away.

        Args:
            lacks_settings: Whether there are no settings at all yet: then they are asked for soon and often,
                until there are.
        """
        if self._is_stopped or (self._find_interval_s is None and not lacks_settings):
            return
        polling = self._run(lacks_settings=lacks_settings)
        self._polling = asyncio.create_task(polling, name="vwo_async settings poll")

    async def _run(self, *, lacks_settings: bool) -> None:
        if lacks_settings:
            await self._poll(lambda: FIRST_WAIT_S, MAX_WAIT_S, until_one=True)
        if self._find_interval_s is not None:
            await self._poll(self._find_interval_s, MAX_BACK_OFF_S)

    async def _poll(
        self, find_interval_s: Callable[[], float], max_s: float, *, until_one: bool = False
    ) -> None:
        """Refresh at intervals, which grow with each failure; with *until_one* until one succeeds."""
        failures = 0
        while True:
            interval_s = find_interval_s()
            wait_s = interval_s * 2.0 ** min(failures, _MAX_DOUBLINGS)
            wait_s = min(wait_s, max(interval_s, max_s))
            await self._sleep(wait_s * self._draw(1 - JITTER, 1 + JITTER))
            if await self._try_refresh():
                failures = 0
                if until_one:
                    return
            else:
                failures += 1

    async def _try_refresh(self) -> bool:
        try:
            return await self.refresh(via_webhook=False)
        except BaseException as error:
            if not is_failure(error):
                raise
            log_error("a settings poll raised %s", type(error).__name__)
            return False

    async def refresh(self, *, via_webhook: bool) -> bool:
        """Wait for a refresh that starts after this call; tell whether it succeeded.

        A cancelled caller does not cancel the refresh, since others may wait for it.
        """
        if self._is_stopped:
            return False
        task = self.refresh_soon()
        self._via_webhook = self._via_webhook or via_webhook
        await asyncio.wait([task])
        return not task.cancelled() and task.result()

    def refresh_soon(self) -> asyncio.Task[bool]:
        """Have a refresh start after this call, and return it."""
        if self._next is None:
            refresh = self._refresh_after(self._current)
            self._next = asyncio.create_task(refresh, name="vwo_async settings refresh")
        return self._next

    async def _refresh_after(self, previous: asyncio.Task[bool] | None) -> bool:
        # One refresh serves all callers that ask before it starts.
        await asyncio.sleep(0)
        if previous is not None:
            await asyncio.wait([previous])
        wait_s = self._started_at + self._min_interval_s - self._clock()
        if wait_s > 0:
            await self._sleep(wait_s)
        self._current, self._next = self._next, None
        via_webhook, self._via_webhook = self._via_webhook, False
        self._started_at = self._clock()
        return await self._run_refresh(via_webhook)

    def stop(self) -> None:
        """Stop polling and cancel running refreshes; callers that wait for one are told that it failed."""
        self._is_stopped = True
        for task in self._tasks():
            task.cancel()

    async def settle(self) -> None:
        """Wait until everything that `stop` cancelled has ended."""
        await asyncio.gather(*self._tasks(), return_exceptions=True)

    def _tasks(self) -> list[asyncio.Task[Any]]:
        tasks = (self._polling, self._current, self._next)
        return [task for task in tasks if task is not None]
