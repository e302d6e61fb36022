"""One limit for all relays of an account: how many events a second they take from the streams together."""

from __future__ import annotations

import asyncio
from typing import Any

from .scripts import TAKE_TOKENS, run_script

# Nobody sleeps for longer before asking again: another relay may have given tokens back.
LONGEST_WAIT_S = 1.0


class RateLimit:
    """A bucket of tokens in Redis, refilled by its clock.

    Args:
        client: A client of redis-py.
        key: Where it is.
        events_per_s: How many tokens a second come into it; it holds those of one second at most.
    """

    def __init__(self, client: Any, key: str, events_per_s: float) -> None:
        self._client = client
        self._key = key
        self._events_per_s = events_per_s
        self._most = max(events_per_s, 1.0)

    async def take(self, wanted: int) -> int:
        """Return for how many events there are tokens, at most *wanted*; wait a moment where there is none."""
        taken, wait_ms = await self._ask(wanted)
        if not taken:
            await asyncio.sleep(min(wait_ms / 1000, LONGEST_WAIT_S))
        return taken

    async def give_back(self, number: int) -> None:
        """Give back the tokens of *number* events that there were not."""
        if number:
            await self._ask(-number)

    async def _ask(self, wanted: int) -> tuple[int, int]:
        answer = await run_script(
            self._client,
            TAKE_TOKENS,
            [self._key],
            repr(self._events_per_s),
            repr(self._most),
            wanted,
        )
        taken, wait_ms = answer
        return int(taken), int(wait_ms)
