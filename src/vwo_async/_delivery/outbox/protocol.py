"""What a durable queue must be able to do."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol


class Row(NamedTuple):
    """One event at rest.

    Attributes:
        id: The outbox's name for it.
        wall_s: When it was accepted, in seconds since the epoch.
        payload: What `dump_event` made of it; holds no SDK key.
    """

    id: int
    wall_s: float
    payload: bytes


class Outbox(Protocol):
    """Keeps events until they are removed. Everything but `open` may fail at any time with any error."""

    async def open(self, fingerprint: str) -> None:
        """Make ready to keep events of one account, which *fingerprint* names.

        Raises:
            OutboxError: It cannot be used, and no waiting will change that.
        """

    async def load(self, limit: int) -> Sequence[Row]:
        """Return events that an earlier process left, oldest first, each once; empty when there are none."""
        ...

    async def append(self, rows: Sequence[tuple[float, bytes]]) -> Sequence[int]:
        """Keep (wall_s, payload) pairs; when this returns they survive the process. Returns their ids."""
        ...

    async def remove(self, ids: Collection[int]) -> None:
        """Forget events that ended."""

    async def find(self, ids: Collection[int]) -> Collection[int]:
        """Return those of *ids* that can still be found, by this process or another."""
        ...

    async def aclose(self) -> None:
        """Give up the outbox; what is in it stays."""

    def describe(self) -> str:
        """Return where the events are, for a report."""
        ...
