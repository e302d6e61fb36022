"""Waiting for what a test has set off."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

TICK_S = 0.01


async def until(
    condition: Callable[[], bool] | Callable[[], Awaitable[bool]], timeout_s: float = 30.0
) -> None:
    """Wait until *condition* holds."""
    async with asyncio.timeout(timeout_s):
        while True:
            found = condition()
            if found if isinstance(found, bool) else await found:
                return
            await asyncio.sleep(TICK_S)
