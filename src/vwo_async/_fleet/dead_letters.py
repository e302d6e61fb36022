"""The dead letters of an account: looking at them, trying them again, and throwing them away."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from .scripts import REPLAY, run_script
from .shard import to_bytes
from .stream_keys import StreamKeys

PAGE_ROWS = 500


@dataclass(frozen=True)
class DeadLetter:
    """An event that a relay could not deliver.

    Attributes:
        shard: The number of its stream.
        id: Its id among the dead letters: the time at which it came there, and a number.
        reason: Why, as in ``http 400``, ``expired`` or ``unreadable``.
        event: What makes the event, without key and user id; empty where it cannot be read.
    """

    shard: int
    id: str
    reason: str
    event: dict[str, Any]


class DeadLetters:
    """The dead letters of one account. Every method raises an error of redis-py where that fails.

    Args:
        client: A client of redis-py.
        keys: Names for the account.
    """

    def __init__(self, client: Any, keys: StreamKeys) -> None:
        self._client = client
        self._keys = keys

    async def read(self) -> AsyncIterator[DeadLetter]:
        """Yield all, stream by stream, oldest first."""
        for shard in range(self._keys.shards):
            start = "-"
            while rows := await self._client.xrange(
                self._keys.dead(shard), min=start, max="+", count=PAGE_ROWS
            ):
                for id_, fields in rows:
                    yield _read(shard, id_, fields)
                start = f"({to_bytes(rows[-1][0]).decode()}"

    async def count(self) -> int:
        """Return how many there are."""
        return sum(
            [await self._client.xlen(self._keys.dead(one)) for one in range(self._keys.shards)]
        )

    async def replay(self, letters: list[DeadLetter]) -> int:
        """Put *letters* back into their streams, and return how many there were."""
        replayed = 0
        for start in range(0, len(letters), PAGE_ROWS):
            for shard in range(self._keys.shards):
                ids = [one.id for one in letters[start : start + PAGE_ROWS] if one.shard == shard]
                if ids:
                    keys = [self._keys.dead(shard), self._keys.events(shard)]
                    replayed += int(await run_script(self._client, REPLAY, keys, *ids))
        return replayed

    async def purge(self) -> int:
        """Throw all away, and return how many there were."""
        return sum(
            # Counted by the server in the same step, so that none is thrown away that came in between.
            [
                await self._client.xtrim(self._keys.dead(one), maxlen=0, approximate=False)
                for one in range(self._keys.shards)
            ]
        )


def _read(shard: int, id_: Any, fields: Any) -> DeadLetter:
    found = {to_bytes(name): to_bytes(value) for name, value in fields.items()}
    try:
        event = json.loads(found.get(b"e", b""))["event"]
    except (ValueError, KeyError, TypeError):
        event = {}
    reason = found.get(b"reason", b"").decode("utf-8", "replace")
    return DeadLetter(
        shard, to_bytes(id_).decode(), reason, event if isinstance(event, dict) else {}
    )
