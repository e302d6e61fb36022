"""Waiting for deliveries, all for at most the same time.

One timer serves all who wait: a timer each, as `asyncio.timeout` sets, costs more than the waiting.
"""

from __future__ import annotations

import asyncio
from asyncio import get_running_loop
from collections.abc import Iterable
from functools import partial

from .._result import Receipt
from .._wake import wake_now


class DeliveryWait:
    """How long those who await a delivery wait for it.

    Args:
        timeout_s: At most this; None for as long as it takes.
    """

    __slots__ = ("_deadlines", "_timeout_s", "_timer")

    def __init__(self, timeout_s: float | None) -> None:
        self._timeout_s = timeout_s
        # In the order of their deadlines, since all wait for the same time.
        self._deadlines: dict[asyncio.Future[bool], float] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def wait_for(self, receipts: Iterable[Receipt]) -> bool:
        """Wait until every outcome is known; false where `end_all` or the time ended the wait before.

        Cancelling the wait does not touch the delivery.
        """
        loop = get_running_loop()
        timeout_s = self._timeout_s
        deadline = float("inf") if timeout_s is None else loop.time() + timeout_s
        for receipt in receipts:
            if receipt.outcome is None and not await self._wait_for_one(receipt, loop, deadline):
                return False
        return True

    async def _wait_for_one(
        self, receipt: Receipt, loop: asyncio.AbstractEventLoop, deadline: float
    ) -> bool:
        future: asyncio.Future[bool] = loop.create_future()
        settled = partial(wake_now, future, True)
        receipt.on_settled(settled)
        self._deadlines[future] = deadline
        if self._timer is None and self._timeout_s is not None:
            self._timer = loop.call_at(deadline, self._expire, loop)
        try:
            return await future
        finally:
            del self._deadlines[future]
            if receipt.outcome is None:
                receipt.forget(settled)

    def end_all(self) -> None:
        """Let everybody go: there is no hope that what they wait for ends soon."""
        for future in self._deadlines:
            wake_now(future, False)

    def _expire(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let those go whose time is over, and look again when it is over for the next.

        While nobody waits the timer is left alone: one that finds nobody costs less than one for each.
        """
        self._timer = None
        now = loop.time()
        for future, deadline in self._deadlines.items():
            if deadline > now:
                self._timer = loop.call_at(deadline, self._expire, loop)
                return
            wake_now(future, False)
