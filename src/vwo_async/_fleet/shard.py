"""One stream of one account, as a relay uses it: reading, taking over, forgetting, burying."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Sequence
from typing import Any, NamedTuple

from .scripts import BURY, ENSURE_GROUP, FORGET, FORGET_IDLE, run_script
from .stream_keys import GROUP, StreamKeys

# How long a read waits for new entries. A relay that stops waits for it, since redis-py cannot bear every
# cancellation.
BLOCK_MS = 500
CLAIM_ROWS = 500
# A consumer that held nothing for so long is of a relay that has ended.
IDLE_CONSUMER_MS = 3_600_000
# Where a look through what is held begins, and where it was when it is through.
FIRST_CURSOR = b"0-0"


class StreamRow(NamedTuple):
    """One entry of a stream.

    Attributes:
        id: Its id in the stream.
        payload: What is in it; empty for an entry of somebody else's.
    """

    id: bytes
    payload: bytes


class Buried(NamedTuple):
    """An entry that came to nothing.

    Attributes:
        id: Its id in the stream.
        reason: Why.
        payload: What was in it.
    """

    id: bytes
    reason: str
    payload: bytes


class Shard:
    """One stream.

    Args:
        client: A client of redis-py.
        keys: Names for the account.
        number: Which of its streams.
        consumer: Under which name this relay reads.
        max_dead: About how many dead letters are kept.

    Every method raises an error of redis-py where the server cannot be reached.

    Attributes:
        last_answer_at: When the server answered last, in monotonic seconds.
    """

    def __init__(
        self, client: Any, keys: StreamKeys, number: int, consumer: str, max_dead: int
    ) -> None:
        self._client = client
        self._events, self._dead = keys.events(number), keys.dead(number)
        self._consumer = consumer
        self._max_dead = max_dead
        self.last_answer_at = float("-inf")

    async def _ask(self, call: Awaitable[Any]) -> Any:
        answer = await call
        self.last_answer_at = time.monotonic()
        return answer

    async def ensure_group(self) -> bool:
        """Make the stream and the group of relays; false where they were there."""
        call = run_script(self._client, ENSURE_GROUP, [self._events], GROUP)
        return bool(await self._ask(call))

    async def read(self, count: int) -> list[StreamRow]:
        """Return entries that no relay has read, at most *count*; wait half a second where there are none."""
        call = self._client.xreadgroup(
            GROUP, self._consumer, {self._events: ">"}, count=count, block=BLOCK_MS
        )
        answer = await self._ask(call)
        return [row for _, rows in _pairs(answer) for row in _read_rows(rows)]

    async def take_over(
        self, idle_s: float, count: int, cursor: bytes
    ) -> tuple[bytes, list[StreamRow]]:
        """Return entries whose relay did not hold on to them for so long, and where to go on looking.

        Args:
            idle_s: For how long.
            count: How many at most; the server looks at ten times as many.
            cursor: Where to begin.
        """
        call = self._client.xautoclaim(
            self._events, GROUP, self._consumer, int(idle_s * 1000), start_id=cursor, count=count
        )
        answer = await self._ask(call)
        return to_bytes(answer[0]), _read_rows(answer[1])

    async def hold(self, ids: Sequence[bytes], *, idle_s: float = 0.0) -> None:
        """Hold on to entries; with *idle_s* as if they had been left alone for so long already."""
        for start in range(0, len(ids), CLAIM_ROWS):
            some = list(ids[start : start + CLAIM_ROWS])
            call = self._client.xclaim(
                self._events, GROUP, self._consumer, 0, some, idle=int(idle_s * 1000), justid=True
            )
            await self._ask(call)

    async def forget(self, ids: Sequence[bytes]) -> None:
        """Remove entries that were delivered."""
        await self._ask(run_script(self._client, FORGET, [self._events], GROUP, *ids))

    async def bury(self, letters: Sequence[Buried]) -> tuple[int, int]:
        """Move entries to the dead letters; return how many were not moved before, and how many gave way there."""
        flat = [part for letter in letters for part in letter]
        keys = [self._events, self._dead]
        call = run_script(self._client, BURY, keys, GROUP, self._max_dead, *flat)
        buried, trimmed = await self._ask(call)
        return int(buried), int(trimmed)

    async def forget_idle_consumers(self) -> None:
        """Remove the names of relays that have ended."""
        call = run_script(self._client, FORGET_IDLE, [self._events], GROUP, IDLE_CONSUMER_MS)
        await self._ask(call)

    async def count(self) -> tuple[int, int]:
        """Return how many entries and dead letters there are."""
        events = await self._ask(self._client.xlen(self._events))
        return events, await self._ask(self._client.xlen(self._dead))


def _pairs(answer: Any) -> Any:
    return answer.items() if isinstance(answer, dict) else answer or ()


def _read_rows(rows: Any) -> list[StreamRow]:
    found = []
    for row in rows or ():
        # A server before 7 names entries that were deleted meanwhile without fields.
        if row is None or row[0] is None or row[1] is None:
            continue
        fields = {to_bytes(name): to_bytes(value) for name, value in row[1].items()}
        found.append(StreamRow(to_bytes(row[0]), fields.get(b"e", b"")))
    return found


def to_bytes(value: str | bytes) -> bytes:
    """Return the bytes of what a client answers, decoded or not."""
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
